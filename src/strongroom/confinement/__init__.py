"""What a restored application may reach: nothing but its own sandbox.

Hides how Linux is asked for that. `kernel` has its calls; `fence` starts a server of ours without a
network; `keeper` is the process inside, which starts the application and talks to it; `enclosure`
is the way in from outside; `sink` takes what the application sends. Knows nothing of restores.

Imported by small processes: nothing is imported here, and no library is used.
"""
