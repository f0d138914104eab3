//! A client that can be as rude as it likes, so it has the sockets in its hands.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::fmt::Write as _;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, TcpStream};
use std::time::Duration;

/// Longer than an answer may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// A response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Response {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(value.trim())
        })
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// A connection on which nothing has been said.
pub(crate) fn connect(port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Reads a response to the end of the connection.
pub(crate) fn response(stream: &mut TcpStream) -> io::Result<Response> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    let invalid = || io::Error::new(io::ErrorKind::InvalidData, "no response");
    let end = bytes.windows(4).position(|end| end == b"\r\n\r\n").ok_or_else(invalid)?;
    let head = String::from_utf8(bytes[..end].to_vec()).map_err(|_| invalid())?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(invalid)?;
    Ok(Response { status, head, body: bytes[end + 4..].to_vec() })
}

/// One request on a connection of its own.
pub(crate) fn request_at(
    host: IpAddr,
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    let mut stream = TcpStream::connect((host, port))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut head = format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    response(&mut stream)
}

/// One request with a body.
pub(crate) fn send(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Response> {
    let mut stream = connect(port)?;
    let length = body.len();
    let mut text = format!(
        "{method} {target} HTTP/1.1\r\nhost: desk\r\nconnection: close\r\ncontent-length: {length}\r\n"
    );
    for (name, value) in headers {
        write!(text, "{name}: {value}\r\n").unwrap();
    }
    stream.write_all(format!("{text}\r\n{body}").as_bytes())?;
    response(&mut stream)
}

pub(crate) fn request(
    port: u16,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
) -> io::Result<Response> {
    request_at(Ipv4Addr::LOCALHOST.into(), port, method, target, headers)
}

/// The scrape, if the service answers.
pub(crate) fn try_scrape(port: u16) -> Option<String> {
    let response = request(port, "GET", "/metrics", &[]).ok()?;
    (response.status == 200).then(|| response.text().to_owned())
}

/// The scrape.
pub(crate) fn scrape(port: u16) -> String {
    try_scrape(port).unwrap()
}

/// The value of a series, written as on the scrape.
pub(crate) fn value(scrape: &str, series: &str) -> Option<f64> {
    scrape.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}
