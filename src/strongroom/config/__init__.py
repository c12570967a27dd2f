"""Text to `Settings`, or every mistake at once; secrets by reference.

`load_settings` finds, reads and checks; nothing here opens a connection. Secrets are resolved by
`resolve_secret` at the last moment and never held. The declaration is `settings`; sample, schema
and explanations come from it (see `description` and `sample`, imported only where wanted).
"""

from strongroom.config.fault import ConfigFaultsError, Fault
from strongroom.config.loading import find_config, load_settings, parse_settings, read_config
from strongroom.config.secret import kept, kept_bytes, read_secret, resolve_secret
from strongroom.config.settings import (
    Engine,
    FilesSource,
    GitSource,
    Policy,
    PostgresSource,
    RepositorySettings,
    Settings,
    Source,
)

__all__ = [
    "ConfigFaultsError",
    "Engine",
    "Fault",
    "FilesSource",
    "GitSource",
    "Policy",
    "PostgresSource",
    "RepositorySettings",
    "Settings",
    "Source",
    "find_config",
    "kept",
    "kept_bytes",
    "load_settings",
    "parse_settings",
    "read_config",
    "read_secret",
    "resolve_secret",
]
