//! Reading TOML configuration files.
