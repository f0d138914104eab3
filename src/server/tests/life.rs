use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc;

use super::client::{connect, read_reply};
use super::*;

#[test]
fn a_port_in_use_is_told_and_tried_again() {
    let owner = TcpListener::bind(loopback()).unwrap();
    let taken = owner.local_addr().unwrap();
    let limits = Limits { bind_again: Duration::from_millis(20), ..Limits::default() };
    let server = Server::start(vec![taken, loopback()], Arc::new(routes(quiet())), limits).unwrap();
    let refused: Vec<_> = server.unbound().map(|(address, error)| (address, error.kind())).collect();
    assert_eq!(refused, [(taken, std::io::ErrorKind::AddrInUse)]);
    // The other address is served meanwhile.
    let [other] = server.addresses()[..] else { panic!("one address of two is bound") };
    assert_eq!(get(other, "/health", &[]).status, 200);

    drop(owner);
    wait_until("the port is taken over", || std::net::TcpStream::connect(taken).is_ok());
    assert_eq!(get(taken, "/health", &[]).status, 200);
    assert!(server.shutdown(PATIENCE));
}

#[test]
fn all_addresses_of_both_families_are_listened_on_at_one_port() {
    use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
    let Ok(free) = TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)) else { return }; // no IPv6 here
    let port = free.local_addr().unwrap().port();
    drop(free);
    let here = |v4, v6| [SocketAddr::from((v4, port)), SocketAddr::from((v6, port))];
    let [v4, v6] = here(Ipv4Addr::UNSPECIFIED, Ipv6Addr::UNSPECIFIED);
    for addresses in [vec![v4, v6], vec![v6, v4], vec![v6]] {
        let server = Server::start(addresses.clone(), Arc::new(routes(quiet())), Limits::default()).unwrap();
        let refused: Vec<_> = server.unbound().map(|(address, error)| (address, error.to_string())).collect();
        assert_eq!(refused, [], "{addresses:?}");
        for address in here(Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST) {
            assert_eq!(get(address, "/health", &[]).status, 200, "{address} of {addresses:?}");
        }
        assert!(server.shutdown(PATIENCE));
    }
}

#[test]
fn a_connection_serves_many_requests() {
    let (_server, address) = quick(routes(quiet()));
    let mut stream = connect(address);
    for _ in 0..50 {
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        assert_eq!(read_reply(&mut stream, false).unwrap().text(), r#"{"status":"ok"}"#);
    }
    // Pipelined, and with the client's end closed.
    stream
        .write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /ready HTTP/1.1\r\nHost: x\r\n\r\n")
        .unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    for _ in 0..2 {
        assert_eq!(read_reply(&mut stream, false).unwrap().status, 200);
    }
}

#[test]
fn shutdown_lets_a_scrape_end_and_closes_what_is_idle() {
    let (go, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let scraper = Scraper::new(Arc::new(move || {
        let _ = wait.lock().unwrap().recv();
        nothing()
    }));
    let (server, address) = quick(guarded(None, Arc::clone(&scraper)));
    let mut idle = connect(address);
    idle.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    read_reply(&mut idle, false).unwrap();
    let silent = connect(address);
    let scrape = std::thread::spawn(move || get(address, "/metrics", &[]).status);
    wait_until("the scrape waits", || scraper.waiting() == 1);

    let stopping = std::thread::spawn(move || server.shutdown(PATIENCE));
    // The idle ones see the end before the scrape has ended.
    for mut stream in [idle, silent] {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
    go.send(()).unwrap();
    assert_eq!(scrape.join().unwrap(), 200);
    assert!(stopping.join().unwrap());
    assert!(std::net::TcpStream::connect(address).is_err(), "nobody listens any more");
}

#[test]
fn shutdown_ends_at_its_deadline() {
    let (hold, wait) = mpsc::channel::<()>();
    let wait = std::sync::Mutex::new(wait);
    let scraper = Scraper::new(Arc::new(move || {
        let _ = wait.lock().unwrap().recv();
        nothing()
    }));
    let (server, address) = quick(guarded(None, Arc::clone(&scraper)));
    let mut stream = connect(address);
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    wait_until("the scrape waits", || scraper.waiting() == 1);
    let start = Instant::now();
    assert!(!server.shutdown(Duration::from_millis(100)));
    assert!(start.elapsed() < PATIENCE / 3);
    assert_eq!(stream.read(&mut [0]).unwrap_or(0), 0, "the connection is closed");
    drop(hold);
}

#[test]
fn a_dropped_server_stops() {
    let (server, address) = quick(routes(quiet()));
    drop(server);
    wait_until("the port is free", || TcpListener::bind(address).is_ok());
}
