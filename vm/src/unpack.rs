//! From a published file to a disk: xz, tar, and what a disk must look like.
