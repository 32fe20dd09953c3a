//! A very small SMTP server, which answers recipients as it is told.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

/// What it answers to a recipient that nothing was said about.
const ACCEPTED: &str = "250 fine";

/// A server on a free port, until it is dropped.
pub(crate) struct SmtpServer {
    pub(crate) url: String,
    /// What to answer to the next recipients, then [`ACCEPTED`].
    answers: Arc<Mutex<VecDeque<&'static str>>>,
    received: mpsc::UnboundedReceiver<String>,
    accepting: tokio::task::JoinHandle<()>,
}

// === impl SmtpServer ===

impl SmtpServer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("smtp://{}", listener.local_addr().unwrap());
        let answers = Arc::<Mutex<VecDeque<_>>>::default();
        let (sender, received) = mpsc::unbounded_channel();
        let told = Arc::clone(&answers);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                // A client that breaks off ends its session, and nothing else.
                tokio::spawn(session(stream, Arc::clone(&told), sender.clone()));
            }
        });
        Self { url, answers, received, accepting }
    }

    /// The next recipients are answered like this.
    pub(crate) fn answer(&self, answers: &[&'static str]) {
        self.answers.lock().unwrap().extend(answers);
    }

    /// A message that came, if any is there.
    pub(crate) fn received(&mut self) -> Option<String> {
        self.received.try_recv().ok()
    }
}

impl Drop for SmtpServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn session(
    stream: TcpStream,
    answers: Arc<Mutex<VecDeque<&'static str>>>,
    received: mpsc::UnboundedSender<String>,
) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut message, mut in_data) = (String::new(), String::new(), false);
    stream.write_all(b"220 test\r\n").await?;
    loop {
        line.clear();
        if stream.read_line(&mut line).await? == 0 {
            return Ok(());
        }
        if in_data && line != ".\r\n" {
            message.push_str(&line);
            continue;
        }
        let verb = line.split([' ', '\r']).next().unwrap_or_default();
        let answer = match verb {
            "." => {
                in_data = false;
                let _ = received.send(std::mem::take(&mut message));
                ACCEPTED
            }
            "EHLO" => "250-test\r\n250 8BITMIME",
            "RCPT" => answers.lock().unwrap().pop_front().unwrap_or(ACCEPTED),
            "DATA" => {
                in_data = true;
                "354 go on"
            }
            "QUIT" => "221 bye",
            _ => ACCEPTED,
        };
        stream.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
}
