use std::io::{Read, Write};
use std::net::TcpStream;

use super::client::{connect, read_reply};
use super::*;

/// Sends what it can; the server may have closed by then.
fn shout(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.write_all(bytes);
}

fn is_closed(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    match stream.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn a_request_line_or_header_of_a_megabyte_is_told_so() {
    let (_server, address) = quick(routes(quiet()));
    let long = "x".repeat(1 << 20);
    let requests = [
        format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX-Long: {long}\r\n\r\n"),
        format!("{long} / HTTP/1.1\r\n\r\n"),
    ];
    for request in requests {
        let mut stream = connect(address);
        shout(&mut stream, request.as_bytes());
        let status = read_reply(&mut stream, false).unwrap().status;
        assert!(matches!(status, 400 | 414 | 431), "{status}");
        assert!(is_closed(&mut stream));
    }
    let many = "X-Many: x\r\n".repeat(1_000);
    let mut stream = connect(address);
    shout(&mut stream, format!("GET /metrics HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert_eq!(read_reply(&mut stream, false).unwrap().status, 431);
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn what_is_no_http_is_refused() {
    let (_server, address) = quick(routes(quiet()));
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 this is TLS\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\0\0\0\0\r\n\r\n",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\nno colon\r\n\r\n",
    ];
    for bytes in garbage {
        let mut stream = connect(address);
        shout(&mut stream, bytes);
        assert!(is_closed(&mut stream));
    }
    assert_eq!(get(address, "/metrics", &[]).status, 200);
}

#[test]
fn a_head_that_trickles_is_cut_off() {
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    let (_server, address) = start(routes(quiet()), limits);
    let mut stream = connect(address);
    let start = Instant::now();
    for byte in b"GET /metrics HTTP/1.1\r\nX-Slow: ".iter().cycle() {
        if stream.write_all(&[*byte]).is_err() {
            break;
        }
        assert!(start.elapsed() < PATIENCE, "the server reads on and on");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(is_closed(&mut stream));
}

#[test]
fn an_answer_that_nobody_reads_is_given_up() {
    let big = "x".repeat(32 << 20);
    let routes = Routes::new(None)
        .mount(Method::GET, "/big", Access::Open, move |_: Request| Answer::plain(StatusCode::OK, &big));
    let limits = Limits { write_timeout: Duration::from_millis(300), ..Limits::default() };
    let (server, address) = start(routes, limits);
    let mut stream = connect(address);
    stream.write_all(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut some = [0; 1000];
    stream.read_exact(&mut some).unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let mut rest = Vec::new();
    let whole = stream.read_to_end(&mut rest).is_ok() && rest.len() > 32 << 20;
    assert!(!whole, "it was kept for a client that did not read");
    assert!(server.shutdown(PATIENCE));
}

/// Clients that hang, each in one of the ways there are.
fn hang(address: SocketAddr, clients: usize) -> Vec<TcpStream> {
    (0..clients)
        .map(|index| {
            let mut stream = connect(address);
            let sent: &[u8] = match index % 4 {
                0 => b"",
                1 => b"G",
                2 => b"GET /metrics HTTP/1.1\r\nHost: slow\r\nX: ",
                _ => b"POST /echo/x HTTP/1.1\r\nHost: slow\r\nContent-Length: 1000\r\n\r\nhalf",
            };
            shout(&mut stream, sent);
            stream
        })
        .collect()
}

#[test]
fn a_scrape_is_answered_while_a_hundred_clients_hang() {
    let (_server, address) = quick(routes(quiet()));
    let mut slow = hang(address, 100);
    for _ in 0..10 {
        assert_eq!(get(address, "/metrics", &[]).status, 200);
        for stream in &mut slow {
            shout(stream, b"x"); // a byte now and then
        }
    }
    assert_eq!(slow.len(), 100);
}

#[test]
fn a_thousand_connections_cost_those_that_hang() {
    let limits =
        Limits { connections: 100, head_timeout: PATIENCE, answer_timeout: PATIENCE, ..Limits::default() };
    let (server, address) = start(routes(quiet()), limits);
    let mut slow = Vec::new();
    for _ in 0..10 {
        slow.extend(hang(address, 100));
        assert_eq!(get(address, "/metrics", &[]).status, 200);
    }
    // What was evicted was closed: of a thousand, a hundred are open at the most.
    let open = slow
        .iter_mut()
        .filter(|stream| {
            stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
            let mut stream: &TcpStream = stream;
            let read = stream.read(&mut [0]);
            matches!(read, Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut))
        })
        .count();
    assert!(open <= 100, "{open} are open");
    drop(server);
}

#[test]
fn idle_connections_are_no_place_to_stay() {
    let limits = Limits { head_timeout: Duration::from_millis(300), ..Limits::default() };
    let (_server, address) = start(routes(quiet()), limits);
    let mut stream = connect(address);
    stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_eq!(read_reply(&mut stream, false).unwrap().status, 200);
    assert!(is_closed(&mut stream));
}
