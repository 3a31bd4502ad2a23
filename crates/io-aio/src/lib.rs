//! The Linux AIO driver
