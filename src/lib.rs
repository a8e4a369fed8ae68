//! Tidings: a notification service.
//!
//! There is one log, and a subscriber is a position in it.
//!
//! ```text
//! publisher ── NATS subject ─┐
//! publisher ── POST ─────────┼─▶ log ─▶ hub (window, readers, fan-out) ─▶ SSE · JSON lines · polls · WebSocket
//! client ───── WebSocket ────┘    ▲
//!                                 └── every replica follows the same log
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`event`] | events, feeds, patterns, positions: parsed once, valid ever after |
//! | [`log`] | the log: in memory, or a JetStream stream |
//! | [`wire`] | events as bytes |
//! | [`hub`] | follows the log, keeps its newest part in memory, serves readers |
//! | [`publish`] | the only door in |
//! | [`auth`] | who may do what |
//! | [`clients`] | what each client holds and does, by address and subject |
//! | [`revoke`] | the end of all that a subject has open |
//! | `http` | every route |
//! | [`app`] | a whole replica |
//! | [`verify`] | holds a deployment to its promise, from outside |
//! | [`version`] | which program this is |
//! | [`cli`] | the command line |
//!
//! Imports point one way: `event` ← `wire`, `log` ← `hub` ← `publish`, `http` ← `app` ← `cli`.
//!
//! # Invariants
//!
//! 1. A reader is sent exactly the events of its patterns after its position, in the log's order, each
//!    once; or it is sent a gap or a reset that says so. Never neither.
//! 2. A publish is answered with success only when the log holds the event.
//! 3. An event is encoded at most once for each wire form while it is in the window.
//! 4. No lock is held across an await; no reader delays another or the follower.
//! 5. Every buffer has a bound, every bound a setting with a documented default.
//! 6. There is no global state: many replicas run inside one process.

pub mod app;
pub mod auth;
pub mod cli;
pub mod clients;
pub mod config;
pub mod event;
mod http;
pub mod hub;
pub mod log;
pub mod metrics;
mod pem;
pub mod publish;
pub mod revoke;
pub mod verify;
pub mod version;
pub mod wire;
