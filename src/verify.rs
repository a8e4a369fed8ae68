//! Holds a deployment to its promise: publishes numbered events, reads them over SSE, JSON lines and polls, and reports
//! each that was lost, doubled, altered or out of order without a word.
//!
//! Whatever fails meanwhile is normal life: readers come back for ever, publishers repeat under the same key.
//! So it can be told what the promise is worth while replicas are killed, NATS goes away, or the network does.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use tidings::verify::{Plan, Run};
//!
//! let run = Run::start(Plan::new(vec!["http://127.0.0.1:8080".parse()?]))?;
//! run.wait_for(|progress| progress.deliveries >= 1_000).await;
//! let report = run.finish().await;
//! assert!(report.is_sound(), "{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # What is kept
//!
//! For each reader, publisher and feed 12 bytes: how far the reader is. Beside that for each reader at most 10,000
//! events that it has skipped and 1,024 announced gaps; and of all readers together at most 1,000,000
//! events that one of them has not passed yet, at which the publishers wait. So memory does not grow with time.

mod checker;
mod connection;
mod form;
mod ledger;
mod mark;
mod plan;
mod publisher;
mod reader;
mod report;
mod run;
mod shared;
mod tally;
mod tls;

pub use form::{Form, InvalidForm};
pub use plan::{InvalidPlan, NatsTarget, Plan};
pub use report::Report;
pub use run::{Run, StartError};
pub use shared::Progress;
pub use tally::{Announced, Example, Found, Tally};
