//! The gateway as a whole: started on a free port, spoken to over a socket, with a part behind it
//! that records what it gets.

mod corpora;
mod cors;
mod drain;
mod faults;
mod forwarding;
mod health;
mod http2;
mod http2_floods;
mod http2_raw;
mod in_process;
mod limits;
mod message;
mod redirect;
mod refusals;
mod slow;
mod test_gateway;
mod tls;
