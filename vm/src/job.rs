//! A run of the suite in one machine or in several.
