//! Digests, and publishers' files of checksums.
