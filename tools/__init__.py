"""What developers of Strongroom run; none of it is installed with the program."""
