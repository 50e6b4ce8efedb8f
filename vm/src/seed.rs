//! The cidata seed ISO that cloud-init and nuageinit read.
