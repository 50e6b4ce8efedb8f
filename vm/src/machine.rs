//! One QEMU process: its command line, its console, its limits.
