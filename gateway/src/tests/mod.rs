//! The gateway as a whole: started on a free port, spoken to over a socket, with a part behind it
//! that records what it gets.

mod drain;
mod faults;
mod forwarding;
mod health;
mod http2;
mod limits;
mod message;
mod refusals;
mod tls;
mod world;
