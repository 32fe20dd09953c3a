//! How messages leave: as files in a folder, or by SMTP.

mod file;
mod smtp;

use futures_util::future::join_all;

pub use self::smtp::check_smtp_url;
pub(crate) use self::{file::FileChannel, smtp::SmtpChannel};
use crate::{
    domain::{Medium, Refusal},
    message::Rendered,
};

/// A way out.
pub(crate) enum Channel {
    File(FileChannel),
    Smtp(SmtpChannel),
}

// === impl Channel ===

impl Channel {
    pub(crate) const fn medium(&self) -> Medium {
        match self {
            Self::File(_) => Medium::File,
            Self::Smtp(_) => Medium::Smtp,
        }
    }

    /// This many messages are taken at once at most.
    pub(crate) const fn batch_max(&self) -> u32 {
        match self {
            Self::File(_) => FileChannel::BATCH_MAX,
            Self::Smtp(smtp) => smtp.connections_max(),
        }
    }

    /// A batch takes no longer, in seconds.
    pub(crate) const fn batch_s_max(&self) -> u64 {
        match self {
            Self::File(_) => FileChannel::BATCH_S_MAX,
            Self::Smtp(smtp) => smtp.timeout().as_secs(),
        }
    }

    /// Delivers each message; returns the outcomes in the same order.
    pub(crate) async fn deliver(&self, messages: Vec<Rendered>) -> Vec<Result<(), Refusal>> {
        match self {
            Self::File(file) => file.deliver(messages).await,
            Self::Smtp(smtp) => join_all(messages.iter().map(|it| smtp.deliver(it))).await,
        }
    }
}
