//! Brings a published image into the cache.
