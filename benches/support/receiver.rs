//! Slack or Telegram on loopback: takes each POST's time, and answers as told.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

/// What it does with a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Slack,
    Telegram,
    /// Takes it and says nothing.
    Hangs,
}

/// A server on a port of its own.
pub(crate) struct Channel {
    pub(crate) url: String,
    posts: Receiver<(Instant, String)>,
}

impl Channel {
    pub(crate) fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, posts) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let sender = sender.clone();
                std::thread::spawn(move || serve(stream, answer, &sender));
            }
        });
        Self { url, posts }
    }

    /// When the next message arrives whose text holds `words`.
    pub(crate) fn next(&self, words: &str) -> Instant {
        loop {
            let (at, body) = self.posts.recv_timeout(Duration::from_secs(30)).expect("the message comes");
            if body.contains(words) {
                return at;
            }
        }
    }
}

fn serve(mut stream: TcpStream, answer: Answer, posts: &Sender<(Instant, String)>) {
    let (mut bytes, mut part) = (Vec::new(), [0; 16_384]);
    loop {
        let whole = loop {
            if let Some(whole) = length(&bytes).filter(|whole| bytes.len() >= *whole) {
                break whole;
            }
            match stream.read(&mut part) {
                Ok(read) if read > 0 => bytes.extend_from_slice(&part[..read]),
                _ => return,
            }
        };
        let at = Instant::now();
        let request: Vec<u8> = bytes.drain(..whole).collect();
        let _ = posts.send((at, String::from_utf8_lossy(&request).into_owned()));
        let body = match answer {
            Answer::Slack => "ok",
            Answer::Telegram => r#"{"ok":true,"result":{"message_id":1}}"#,
            Answer::Hangs => continue,
        };
        let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        if stream.write_all(reply.as_bytes()).is_err() {
            return;
        }
    }
}

/// How long the first request is, once its head is there.
fn length(bytes: &[u8]) -> Option<usize> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&bytes[..end]).ok()?.to_lowercase();
    let body = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
    Some(end + body.parse::<usize>().ok()?)
}
