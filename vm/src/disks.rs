//! The raw disks that carry a job into a guest and its results out.
