//! Logins through libpam on a scratch host, measured: Countersign beside the modules that people run, all in one run.
//!
//! It runs as root on a machine that it trusts. Every module is a black box to it.
#![forbid(unsafe_code)]

pub mod breakage;
pub mod chart;
pub mod comparison;
pub mod contestant;
pub mod extremes;
pub mod floors;
pub mod load;
pub mod population;
pub mod promise;
pub mod report;
pub mod sweep;
