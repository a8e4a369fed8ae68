//! Tidings: a notification service.

pub mod config;
pub mod event;
pub mod log;
