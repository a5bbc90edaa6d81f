//! What answers look like on the wire, and what becomes of connections whose clients are slow, silent, old or gone.

use super::*;

/// Reads all that comes until the end.
async fn rest(client: &mut Client) -> String {
    while client.receive().await {}
    String::from_utf8(std::mem::take(&mut client.received)).unwrap()
}

#[actix_web::test]
async fn a_head_is_read_wherever_it_is_cut() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.stream.set_nodelay(true).unwrap();
        for at in 1..GET.len() {
            let (first, second) = GET.split_at(at);
            client.send(first).await;
            client.send(second).await;
            assert_eq!(client.body().await, "GET /g 0", "cut at {at}");
        }
    })
    .await;
}

#[actix_web::test]
async fn head_is_answered_like_get_but_without_a_body() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send("HEAD /g HTTP/1.1\r\nHost: a\r\n\r\nHEAD /stream HTTP/1.1\r\nHost: a\r\n\r\n").await;
        client.send("GET /g HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let text = rest(&mut client).await;
        let answers: Vec<&str> = text.split("\r\n\r\n").collect();
        let [plain, streamed, got, "GET /g 0"] = answers[..] else { panic!("{text}") };
        assert!(plain.contains("content-length: 9") && streamed.contains("transfer-encoding: chunked"), "{text}");
        assert!(got.contains("connection: close"), "{text}");
        assert!(answers[..3].iter().all(|head| head.starts_with("HTTP/1.1 200 OK\r\n")), "{text}");
    })
    .await;
}

#[actix_web::test]
async fn a_client_of_1_0_may_keep_its_connection() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        for _ in 0..3 {
            client.send("GET /g HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
            let (status, lines, body) = client.answer().await;
            assert_eq!((status.as_str(), body.as_str()), ("HTTP/1.0 200 OK", "GET /g 0"));
            assert!(lines.contains("connection: keep-alive"), "{lines}");
        }
        client.send("GET /g HTTP/1.0\r\n\r\n").await;
        assert_eq!(client.body().await, "GET /g 0");
        client.assert_ends().await;
    })
    .await;
}

#[actix_web::test]
async fn a_body_of_unknown_length_is_chunked_but_not_for_1_0() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send("GET /stream HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").await;
        let text = rest(&mut client).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("transfer-encoding: chunked") && !head.contains("content-length"), "{head}");
        assert_eq!(body, "3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n");

        let mut client = Client::connect(address).await;
        client.send("GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").await;
        let text = rest(&mut client).await;
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("chunked") && !head.contains("keep-alive"), "{head}");
        assert_eq!(body, "onetwo");
    })
    .await;
}

#[actix_web::test]
async fn a_body_that_fails_is_cut_so_that_nobody_takes_it_for_whole() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send(format!("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n{GET}")).await;
        let text = rest(&mut client).await;
        assert!(text.ends_with("\r\n\r\n3\r\none\r\n"), "{text}");
    })
    .await;
}

#[actix_web::test]
async fn who_reads_slowly_gets_all_of_it() {
    with_server(async |address| {
        let mut client = Client::connect(address).await;
        client.send(format!("GET /big HTTP/1.1\r\nHost: a\r\n\r\n{GET}")).await;
        let (mut piece, mut body) = (vec![0; 100_000], 0);
        while !client.received.windows(4).any(|end| end == b"\r\n\r\n") {
            assert!(client.receive().await);
        }
        let begin = client.received.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
        body += client.received.split_off(begin).len();
        client.received.clear();
        while body < 64 << 20 {
            let most = piece.len().min((64 << 20) - body);
            let read = timeout(DEADLINE, client.stream.read(&mut piece[..most])).await.unwrap().unwrap();
            assert!(read > 0 && piece[..read].iter().all(|byte| *byte == b'x'));
            body += read;
            tokio::task::yield_now().await;
        }
        assert_eq!(client.body().await, "GET /g 0");
    })
    .await;
}

#[actix_web::test]
async fn a_client_that_has_ended_its_side_gets_all_its_answers() {
    let gates = Gates::new();
    let running = start(config(), &gates).await;
    let mut client = Client::connect(running.address().unwrap()).await;
    let put = "PATCH /hold HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi";
    client.send(format!("{GET}{put}{GET}")).await;
    client.stream.shutdown().await.unwrap();
    pass(&gates.begun).await;
    gates.open.add_permits(1);
    for expected in ["GET /g 0", "PATCH /hold 2", "GET /g 0"] {
        assert_eq!(client.body().await, expected);
    }
    client.assert_ends().await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn a_client_that_resets_the_connection_ends_its_request() {
    let gates = Gates::new();
    let running = start(config(), &gates).await;
    let mut client = Client::connect(running.address().unwrap()).await;
    client.send("GET /hold HTTP/1.1\r\nHost: a\r\n\r\n").await;
    pass(&gates.begun).await;
    socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    pass(&gates.dropped).await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn who_says_nothing_at_first_hears_why_the_connection_ends() {
    let mut patience = patience();
    patience.limits.head_timeout = Duration::from_millis(100);
    let running = start(config_with(patience), &Gates::new()).await;
    for begun in ["", "GET /g HT"] {
        let mut client = Client::connect(running.address().unwrap()).await;
        client.send(begun).await;
        let (status, lines, _) = client.answer().await;
        assert_eq!(status, "HTTP/1.1 408 Request Timeout");
        assert!(lines.contains("connection: close"), "{lines}");
        client.assert_ends().await;
    }
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}

#[actix_web::test]
async fn an_idle_connection_has_its_time_and_not_that_of_a_head() {
    let mut patience = patience();
    patience.keep_alive = Duration::from_millis(100);
    let running = start(config_with(patience), &Gates::new()).await;
    let mut client = Client::connect(running.address().unwrap()).await;
    client.send(GET).await;
    assert_eq!(client.body().await, "GET /g 0");
    client.assert_ends().await;
    assert_eq!(running.drain(DEADLINE).await, Drained::All);
    running.stop();
}
