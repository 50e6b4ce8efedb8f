//! Images made on the spot from Debian's packages.
