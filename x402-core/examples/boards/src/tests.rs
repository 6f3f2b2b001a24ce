//! Buyer and seller against each other, and against wires that do what wires do, on the host.

use std::cell::{Cell, RefCell};
use std::prelude::rust_2024::*;
use std::rc::Rc;
use std::{format, vec};

use crate::buyer::{self, BuyError, Evm};
use crate::http::{self, HttpError};
use crate::seller::{self, Served, Unready};
use crate::stream::{Broken, Clock, Entropy, Link};
use embedded_io::{ErrorType, Read, Write};
use x402_core::Reason;
use x402_core::buyer::Policy;
use x402_core::crypto::secp256k1::{K256, LocalKey};
use x402_core::wire::{Message, PaymentRequirements, ResourceInfo};
use x402_evm::ExactEvm;

const NOW: u64 = 1_800_000_000;
const DATE: &str = "Date: Fri, 15 Jan 2027 08:00:00 GMT\r\n";

const OFFER: &[u8] = br#"{"scheme":"exact","network":"eip155:1328","amount":"10000",
    "asset":"0x4fCF1784B31630811181f670Aea7A7bEF803eaED",
    "payTo":"0x90F79bf6EB2c4f870365E785982E1f101E93b906",
    "maxTimeoutSeconds":60,"extra":{"name":"USDC","version":"2"}}"#;

/// The other end: bytes in, bytes out. The request is whole when the first byte of the answer is
/// wanted.
type Peer<'p> = Rc<dyn Fn(&[u8]) -> Result<Vec<u8>, Broken> + 'p>;

struct Wire<'p> {
    peer: Peer<'p>,
    sent: Vec<u8>,
    answer: Option<Vec<u8>>,
    at: usize,
    /// Most bytes that a read gives.
    piece: usize,
}

impl ErrorType for Wire<'_> {
    type Error = Broken;
}

impl Read for Wire<'_> {
    fn read(&mut self, out: &mut [u8]) -> Result<usize, Broken> {
        if self.answer.is_none() {
            self.answer = Some((self.peer)(&self.sent)?);
        }
        let rest = &self.answer.as_ref().unwrap()[self.at..];
        let count = rest.len().min(out.len()).min(self.piece);
        out[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize, Broken> {
        self.sent.extend(&bytes[..bytes.len().min(self.piece)]);
        Ok(bytes.len().min(self.piece))
    }

    fn flush(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

#[derive(Clone)]
struct To<'p>(Peer<'p>, usize);

impl<'p> Link for To<'p> {
    type Stream<'s>
        = Wire<'p>
    where
        Self: 's;

    fn open(&mut self) -> Result<Wire<'p>, Broken> {
        let (peer, piece) = (self.0.clone(), self.1);
        Ok(Wire { peer, sent: Vec::new(), answer: None, at: 0, piece })
    }
}

/// A facilitator that cannot be reached.
struct Nowhere;

impl Link for Nowhere {
    type Stream<'s> = Wire<'static>;

    fn open(&mut self) -> Result<Wire<'static>, Broken> {
        Err(Broken)
    }
}

struct Board(Cell<u64>);

impl Clock for Board {
    fn millis(&self) -> u64 {
        self.0.replace(self.0.get() + 100)
    }
}

impl Entropy for Board {
    fn fill(&mut self, bytes: &mut [u8]) {
        bytes.fill(self.0.get() as u8);
    }
}

fn answer(head: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {head}\r\n{DATE}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

const TRANSACTION: &str = "0xaa00000000000000000000000000000000000000000000000000000000000000";

fn settled(success: bool, reason: &str) -> Vec<u8> {
    let transaction = if success { TRANSACTION } else { "" };
    let body = format!(
        r#"{{"success":{success},"errorReason":"{reason}","transaction":"{transaction}","network":"eip155:1328"}}"#
    );
    answer("200 OK", &body)
}

type Shop = seller::Shop<'static, ExactEvm<K256>>;

fn shop() -> Shop {
    let resource = ResourceInfo { url: "http://board/reading".into(), ..Default::default() };
    let offer = PaymentRequirements::parse(OFFER).unwrap();
    Shop::new(resource, "/reading", offer, ExactEvm::default(), "facilitator")
}

/// One request to the shop, as bytes.
fn ask(shop: &mut Shop, request: &[u8], link: &mut impl Link, piece: usize) -> (Served, Vec<u8>) {
    let request = request.to_vec();
    let peer: Peer<'_> = Rc::new(move |_| Ok(request.clone()));
    let mut wire = To(peer, piece).open().unwrap();
    let (mut received, mut memory) = ([0; 4096], seller::Memory::new());
    let request = http::read_request(&mut wire, &mut received);
    let served = shop.serve(request, &mut wire, link, NOW, b"{\"reading\":1}", &mut memory);
    (served, wire.sent)
}

/// A purchase from the shop over such wires; also the requests that reached it.
fn buy(
    shop: &mut Shop,
    facilitator: &mut (impl Link + Clone),
    piece: usize,
) -> (Result<(u16, Vec<u8>), BuyError>, Vec<Vec<u8>>) {
    let (requests, shop) = (RefCell::new(Vec::new()), RefCell::new(shop));
    let peer: Peer<'_> = Rc::new(|request| {
        requests.borrow_mut().push(request.to_vec());
        let (_, mut answer) = ask(&mut shop.borrow_mut(), request, &mut facilitator.clone(), piece);
        let at = answer.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        answer.splice(at..at, DATE.bytes());
        Ok(answer)
    });
    let place = buyer::Shop { host: "board", path: "/reading?a=b" };
    let wallet = Evm(LocalKey::from_bytes(&[7; 32]).unwrap());
    let mut memory = buyer::Memory::new();
    let (clock, mut entropy) = (Board(Cell::new(0)), Board(Cell::new(0)));
    let mut link = To(peer.clone(), piece);
    let bought = buyer::buy(
        place,
        &mut link,
        &wallet,
        &Policy::default(),
        &clock,
        &mut entropy,
        &mut memory,
    )
    .map(|bought| (bought.status, bought.body.to_vec()));
    drop((link, peer));
    (bought, requests.into_inner())
}

#[test]
fn pays_is_paid_and_sells_once() {
    for piece in [1, 7, usize::MAX] {
        let asked = Cell::new(0);
        let peer: Peer<'_> = Rc::new(|request| {
            asked.set(asked.get() + 1);
            assert!(request.starts_with(b"POST /settle HTTP/1.1\r\nHost: facilitator\r\n"));
            Ok(settled(true, ""))
        });
        let mut facilitator = To(peer.clone(), piece);
        let mut shop = shop();
        let (bought, requests) = buy(&mut shop, &mut facilitator, piece);
        assert_eq!(bought, Ok((200, b"{\"reading\":1}".to_vec())));
        assert_eq!((requests.len(), asked.get()), (2, 1));
        let (served, again) = ask(&mut shop, &requests[1], &mut facilitator, piece);
        assert_eq!(served, Served::Refused(Reason::DuplicateSettlement));
        assert!(again.starts_with(b"HTTP/1.1 402 "));
        assert_eq!(asked.get(), 1);
    }
}

/// Each row: what the facilitator answers, time after time; what the buyer gets; how often the
/// facilitator was asked.
#[test]
fn unclear_is_not_failed_and_nothing_is_settled_twice() {
    let pending = || Ok(settled(false, "settlement_pending"));
    let reading = || Ok((200, b"{\"reading\":1}".to_vec()));
    type Answers = Vec<Result<Vec<u8>, Broken>>;
    let rows: [(Answers, Result<(u16, Vec<u8>), BuyError>, usize); 7] = [
        (vec![Err(Broken), Ok(settled(true, ""))], reading(), 2),
        (vec![pending(), pending(), Ok(settled(true, ""))], reading(), 3),
        (vec![Ok(answer("500 Oh", "no")), Ok(settled(true, ""))], reading(), 2),
        (
            vec![Err(Broken), Err(Broken), Err(Broken)],
            Err(BuyError::Unclear(Some(Reason::UnknownSettlementError))),
            3,
        ),
        (
            vec![Ok(settled(false, "insufficient_funds"))],
            Err(BuyError::Refused(Reason::InsufficientFunds)),
            1,
        ),
        // A refusal after silence may be said of what the first request made.
        (
            vec![Err(Broken), Ok(settled(false, "insufficient_funds")), Err(Broken)],
            Err(BuyError::Unclear(Some(Reason::UnknownSettlementError))),
            3,
        ),
        (
            vec![Ok(answer("200 OK", r#"{"success":true,"transaction":"","network":""}"#)); 3],
            Err(BuyError::Unclear(Some(Reason::UnknownSettlementError))),
            3,
        ),
    ];
    for (answers, expected, times) in rows {
        let asked = Cell::new(0);
        let peer: Peer<'_> = Rc::new(|_| {
            asked.set(asked.get() + 1);
            answers[asked.get() - 1].clone()
        });
        let (bought, _) = buy(&mut shop(), &mut To(peer.clone(), 64), 64);
        assert_eq!((bought, asked.get()), (expected, times), "{answers:?}");
    }
}

#[test]
fn a_payment_that_lasts_too_long_is_refused() {
    let peer: Peer<'_> = Rc::new(|_| Ok(settled(true, "")));
    let (_, requests) = buy(&mut shop(), &mut To(peer.clone(), 64), 64);
    let request: Peer<'_> = Rc::new(|_| Ok(requests[1].clone()));
    for (earlier, lasts_too_long) in [(3600, false), (3601, true)] {
        let mut wire = To(request.clone(), 64).open().unwrap();
        let (mut received, mut memory) = ([0; 4096], seller::Memory::new());
        let read = http::read_request(&mut wire, &mut received);
        let mut facilitator = To(peer.clone(), 64);
        let now = NOW - earlier;
        let served = shop().serve(read, &mut wire, &mut facilitator, now, b"", &mut memory);
        let reason = Reason::InvalidExactEvmPayloadAuthorizationValidBefore;
        assert_eq!(served == Served::Refused(reason), lasts_too_long, "{served:?}");
    }
}

/// Servers that refuse before they settle give no receipt.
#[test]
fn a_refusal_without_a_receipt_has_its_reason_in_the_challenge() {
    for (error, expected, times) in [
        (
            "invalid_exact_evm_insufficient_balance",
            BuyError::Refused(Reason::InvalidExactEvmInsufficientBalance),
            2,
        ),
        ("some other words", BuyError::Unclear(None), 4),
    ] {
        let asked = Cell::new(0);
        let peer: Peer<'_> = Rc::new(|_| {
            asked.set(asked.get() + 1);
            let offer = std::str::from_utf8(OFFER).unwrap();
            let error = if asked.get() == 1 { "pay" } else { error };
            let body = format!(
                r#"{{"x402Version":2,"error":"{error}","resource":{{"url":"u"}},"accepts":[{offer}]}}"#
            );
            Ok(answer("402 Pay", &body))
        });
        let place = buyer::Shop { host: "board", path: "/" };
        let wallet = Evm(LocalKey::from_bytes(&[7; 32]).unwrap());
        let (clock, mut entropy) = (Board(Cell::new(0)), Board(Cell::new(0)));
        let (mut link, policy) = (To(peer.clone(), 64), Policy::default());
        let mut memory = buyer::Memory::new();
        let bought =
            buyer::buy(place, &mut link, &wallet, &policy, &clock, &mut entropy, &mut memory);
        assert_eq!((bought.err(), asked.get()), (Some(expected), times));
    }
}

#[test]
fn an_unreachable_facilitator_costs_no_claim() {
    let mut shop = shop();
    let peer: Peer<'_> = Rc::new(|_| Ok(settled(true, "")));
    let mut facilitator = To(peer, 64);
    let (_, requests) = buy(&mut self::shop(), &mut facilitator, 64);
    let (served, _) = ask(&mut shop, &requests[1], &mut Nowhere, 64);
    assert_eq!(served, Served::Refused(Reason::FacilitatorUnavailable));
    let (served, _) = ask(&mut shop, &requests[1], &mut facilitator, 64);
    assert!(matches!(served, Served::Sold(transaction) if transaction == TRANSACTION));
}

#[test]
fn prepares_with_a_facilitator_that_settles_the_offer() {
    let kinds = |network| {
        let kind = format!(r#"{{"x402Version":2,"scheme":"exact","network":"{network}"}}"#);
        format!(r#"{{"kinds":[{kind}],"extensions":[],"signers":{{}}}}"#)
    };
    for (bytes, expected) in [
        (answer("200 OK", &kinds("eip155:1328")), Ok(NOW)),
        (answer("200 OK", &kinds("eip155:1329")), Err(Unready::Unsupported)),
        (answer("200 OK", "{\"kinds\":[]}"), Err(Unready::Unsupported)),
        (answer("200 OK", "[]"), Err(Unready::NoFacilitator)),
        (answer("500 Oh", &kinds("eip155:1328")), Err(Unready::NoFacilitator)),
        (b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), Err(Unready::NoFacilitator)),
        (Vec::new(), Err(Unready::NoAnswer(HttpError::Broken))),
    ] {
        let peer: Peer<'_> = Rc::new(|_| Ok(bytes.clone()));
        let prepared = shop().prepare(&mut To(peer, 64), &mut seller::Memory::new());
        assert_eq!(prepared, expected);
    }
}

#[test]
fn a_shop_answers_what_is_no_purchase() {
    let long = format!("GET /reading HTTP/1.1\r\nX: {}\r\n\r\n", "a".repeat(5000));
    let many = format!("GET /reading HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(41));
    let challenged = Served::Challenged;
    for (request, expected) in [
        ("GET /reading HTTP/1.1\r\n\r\n", challenged.clone()),
        ("GET /reading?x=1 HTTP/1.1\r\nHost: a\r\n\r\n", challenged),
        ("GET /readings HTTP/1.1\r\n\r\n", Served::Status(404)),
        ("GET /reading/ HTTP/1.1\r\n\r\n", Served::Status(404)),
        ("POST /reading HTTP/1.1\r\nContent-Length: 1\r\n\r\na", Served::Status(405)),
        ("HEAD /reading HTTP/1.1\r\n\r\n", Served::Status(405)),
        ("", Served::Nothing),
        ("GET /reading HTTP/1.1\r\n", Served::Nothing),
        ("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\na", Served::Nothing),
        ("\0\r\n\r\n", Served::Status(400)),
        ("GET\r\n\r\n", Served::Status(400)),
        ("GET /reading HTTP/1.1\r\nContent-Length: +1\r\n\r\na", Served::Status(400)),
        ("GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", Served::Status(400)),
        (
            "GET / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\na",
            Served::Status(400),
        ),
        ("GET /reading HTTP/1.1\nA: b\n\nPAYMENT-SIGNATURE: a\r\n\r\n", Served::Status(400)),
        ("GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", Served::Status(400)),
        ("GET / HTTP/1.1\r\nContent-Length: 18446744073709551615\r\n\r\n", Served::Status(431)),
        ("POST / HTTP/1.1\r\nContent-Length: 4096\r\n\r\n", Served::Status(431)),
        (&long, Served::Status(431)),
        (&many, Served::Status(431)),
        (
            "GET /reading HTTP/1.1\r\nPAYMENT-SIGNATURE: a\r\nX-PAYMENT: b\r\n\r\n",
            Served::Status(400),
        ),
        (
            "GET /reading HTTP/1.1\r\nPAYMENT-SIGNATURE: ?\r\n\r\n",
            Served::Refused(Reason::InvalidPayload),
        ),
        (
            "GET /reading HTTP/1.1\r\nPAYMENT-SIGNATURE: e30=\r\n\r\n",
            Served::Refused(Reason::InvalidPayload),
        ),
    ] {
        for piece in [1, usize::MAX] {
            let (served, _) = ask(&mut shop(), request.as_bytes(), &mut Nowhere, piece);
            assert_eq!(served, expected, "{request}");
        }
    }
}

#[test]
fn bodies_come_in_every_framing() {
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (bytes, expected) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab+".to_owned(), Ok("ab")),
        ("HTTP/1.1 200 OK\r\n\r\nab".to_owned(), Ok("ab")),
        ("HTTP/1.1 204 No\r\n\r\nab".to_owned(), Ok("")),
        (format!("{chunked}1\r\na\r\n2;x=y\r\nbc\r\n0\r\n\r\n"), Ok("abc")),
        (format!("{chunked}0\r\n\r\n"), Ok("")),
        (format!("{chunked}1\r\nab\r\n0\r\n\r\n"), Err(HttpError::Malformed)),
        (format!("{chunked}x\r\n"), Err(HttpError::Malformed)),
        (format!("{chunked}ffffffffffffffff\r\n"), Err(HttpError::TooLong)),
        (format!("{chunked}fff\r\n"), Err(HttpError::TooLong)),
        (format!("{chunked}3\r\nab"), Err(HttpError::Broken)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na".to_owned(), Err(HttpError::Broken)),
        ("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\na".to_owned(), Err(HttpError::TooLong)),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nA: b\r\n\r\nHTTP/1.1 200 OK\r\n\r\nab".to_owned(),
            Ok("ab"),
        ),
        ("HTTP/1.1 200 OK\nA: b\n\nab\r\n\r\n".to_owned(), Err(HttpError::Malformed)),
        (String::new(), Err(HttpError::Broken)),
        ("SIP/2.0 200 OK\r\n\r\n".to_owned(), Err(HttpError::Malformed)),
    ] {
        for piece in [1, 3, usize::MAX] {
            let peer: Peer<'_> = Rc::new(|_| Ok(bytes.clone().into_bytes()));
            let (mut wire, mut memory) = (To(peer, piece).open().unwrap(), [0; 128]);
            let answer = http::exchange(&mut wire, "GET", "h", "/", &[], &[], &mut memory);
            let body = answer
                .map(|answer| String::from_utf8(answer.content(&memory).body.to_vec()).unwrap());
            assert_eq!(body, expected.map(str::to_owned), "{bytes} by {piece}");
        }
    }
}
