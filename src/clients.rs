//! Clients as they are held to account: by the address that they come from, and by the subject that they have shown.

mod address;
mod forwarded;
mod permit;
mod rates;
mod seats;

pub use address::Address;
pub use forwarded::Proxies;
pub use permit::Permit;
pub use rates::{Account, Left, Over, Rates};
pub use seats::{Full, Seat, SeatCounters, SeatLimits, Seats};
