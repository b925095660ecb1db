use std::{collections::VecDeque, task::Waker};

use amq_protocol::{
    frame::{AMQPFrame, parse_frame},
    protocol::{AMQPClass, BasicProperties, basic},
    types::{AMQPValue, FieldTable},
};
use proptest::{collection::vec, prelude::*};

use super::*;
use crate::MALFORMED_HEADER;

const FRAME_MAX: usize = 32 << 10;
const MAX_DEPTH: usize = 16;

/// Gives what it has in pieces of the lengths that it is told, over and over.
struct Pieces {
    bytes: VecDeque<u8>,
    lengths: Vec<usize>,
    turn: usize,
}

impl AsyncRead for Pieces {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let piece = self.lengths[self.turn % self.lengths.len()].max(1);
        self.turn += 1;
        let length = piece.min(buffer.len()).min(self.bytes.len());
        for (to, from) in buffer.iter_mut().zip(self.bytes.drain(..length)) {
            *to = from;
        }
        Poll::Ready(Ok(length))
    }
}

/// What is left of `bytes` that come in pieces of these lengths and are read into `room` bytes.
fn screened(bytes: &[u8], lengths: &[usize], room: usize) -> Vec<u8> {
    // A server begins with a method: `basic.recover-ok`, which is passed on as it is.
    let first = frame(METHOD, &[0, 60, 0, 111]);
    let bytes = first.iter().chain(bytes).copied().collect();
    let pieces = Pieces { bytes, lengths: lengths.to_vec(), turn: 0 };
    let mut stream = Screened::new(pieces, FRAME_MAX, Arc::default());
    let mut context = Context::from_waker(Waker::noop());
    let (mut buffer, mut all) = (vec![0; room], Vec::new());
    loop {
        match Pin::new(&mut stream).poll_read(&mut context, &mut buffer) {
            Poll::Ready(Ok(0)) => {
                assert_eq!(all.drain(..first.len()).collect::<Vec<_>>(), first);
                return all;
            }
            Poll::Ready(Ok(length)) => all.extend(&buffer[..length]),
            other => panic!("{other:?}"),
        }
    }
}

fn whole(bytes: &[u8]) -> Vec<u8> {
    screened(bytes, &[usize::MAX], 1 << 20)
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    Head { kind, channel: 7, payload_bytes: 0 }.frame(payload)
}

fn parsed(mut bytes: &[u8]) -> Vec<AMQPFrame> {
    let mut frames = Vec::new();
    while !bytes.is_empty() {
        let (rest, frame) = parse_frame(bytes).expect("the library takes it");
        assert!(bytes.len() - rest.len() <= FRAME_MAX, "{frame:?}");
        frames.push(frame);
        bytes = rest;
    }
    frames
}

/// A content header with these flags for a body of 5 bytes.
fn content_header(flags: u16, properties: &[u8]) -> Vec<u8> {
    let mut payload = vec![0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    payload.extend(flags.to_be_bytes());
    payload.extend(properties);
    frame(CONTENT_HEADER, &payload)
}

fn long(bytes: &[u8]) -> Vec<u8> {
    [&(bytes.len() as u32).to_be_bytes(), bytes].concat()
}

/// With a table of headers that holds `fields`.
fn with_headers(fields: &[u8]) -> Vec<u8> {
    content_header(1 << 13, &long(fields))
}

fn nested(tag: u8, depth: usize) -> Vec<u8> {
    // A name is the end of a table, and of an array of shorts as good as any.
    let name: &[u8] = if tag == b'F' { b"\x01a" } else { b"" };
    let heads = (0..depth).map(|level| (depth - level - 1) * (name.len() + 5));
    let levels = heads.flat_map(|left| {
        let left = (left + name.len() + 1) as u32;
        [name, &[tag], &left.to_be_bytes()].concat()
    });
    let inner: Vec<u8> = levels.chain([name, b"V"].concat()).collect();
    [b"\x01h".as_slice(), if tag == b'F' { &inner[2..] } else { &inner }].concat()
}

fn deliver(routing_key: &[u8]) -> Vec<u8> {
    let key = [&[routing_key.len() as u8], routing_key].concat();
    let tag = b"\x03tag\0\0\0\0\0\0\0\x01\0\x01e";
    frame(METHOD, &[&DELIVER, tag.as_slice(), &key].concat())
}

fn properties(frame: &AMQPFrame) -> &BasicProperties {
    match frame {
        AMQPFrame::Header(7, header) if header.body_size == 5 && header.class_id == 60 => {
            &header.properties
        }
        other => panic!("{other:?}"),
    }
}

/// Why a frame was replaced, if it was.
fn reason(frame: &AMQPFrame) -> Option<String> {
    match properties(frame).headers().as_ref()?.inner().get(MALFORMED_HEADER)? {
        AMQPValue::LongString(reason) => Some(reason.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_the_library_takes_is_not_touched() {
    let mut death = FieldTable::default();
    death.insert("count".into(), AMQPValue::LongLongInt(1));
    let keys = vec![AMQPValue::LongString("key".into())];
    death.insert("routing-keys".into(), AMQPValue::FieldArray(keys.into()));
    let mut headers = FieldTable::default();
    let deaths = vec![AMQPValue::FieldTable(death)];
    headers.insert("x-death".into(), AMQPValue::FieldArray(deaths.into()));
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_headers(headers)
        .with_delivery_mode(2)
        .with_message_id("größe".into())
        .with_timestamp(1)
        .with_app_id("app".into());
    let header = amq_protocol::frame::AMQPContentHeader { class_id: 60, body_size: 5, properties };
    let header = AMQPFrame::Header(7, header);
    let write = amq_protocol::frame::gen_frame(&header);
    let (header, _) = write(Vec::new().into()).expect("room").into_inner();
    let body = frame(3, b"\xce body");
    let long_body = frame(3, &vec![1; FRAME_MAX - 8]);
    let heartbeat = [8, 0, 0, 0, 0, 0, 0, END];
    let all = [&deliver(b"key"), &header, &body, &long_body, heartbeat.as_slice()].concat();
    assert_eq!(parsed(&all).len(), 5);
    for (length, room) in [(1, 1), (3, 2), (8, 100), (7, 7), (40, 9), (1 << 20, 1 << 20)] {
        assert_eq!(screened(&all, &[length], room), all, "pieces of {length}, read by {room}");
    }
    assert_eq!(reason(&parsed(&with_headers(&nested(b'A', MAX_DEPTH - 1)))[0]), None);
}

#[test]
fn each_fault_is_named_and_costs_one_message() {
    let long_header = with_headers(&[b"\x01a".as_slice(), b"S", &long(&[b'x'; 130_000])].concat());
    let cases: [(Vec<u8>, &str); 14] = [
        (with_headers(&nested(b'A', MAX_DEPTH)), "headers: nested more than 16 levels deep"),
        (with_headers(&nested(b'F', MAX_DEPTH)), "headers: nested more than 16 levels deep"),
        (with_headers(&nested(b'A', 5000)), "headers: nested more than 16 levels deep"),
        (with_headers(&nested(b'F', 4000)), "headers: nested more than 16 levels deep"),
        (
            with_headers(&nested(b'A', 100_000)),
            "the frame with its properties is 500029 bytes long; the limit is 32768",
        ),
        (long_header, "the frame with its properties is 130033 bytes long; the limit is 32768"),
        (with_headers(b"\x01\xffV"), "the name of a header: not UTF-8"),
        (with_headers(b"\x01az"), "headers: a value of unknown type 0x7a"),
        (with_headers(b"\x01aS\0\0\0\x02x"), "the value of a header: longer than what holds it"),
        (with_headers(b"\x05a"), "the name of a header: longer than what holds it"),
        (content_header(1 << 7, b"\x02\xc3\x28"), "message_id: not UTF-8"),
        (content_header(1 << 3, b"\x02\xc3\x28"), "app_id: not UTF-8"),
        (content_header(1 << 6, b"123"), "timestamp: longer than what holds it"),
        (content_header(1 << 12, b"\x02rest"), "4 bytes follow the last property"),
    ];
    let sound = [content_header(1 << 12, b"\x02"), frame(3, b"body.")].concat();
    for (bad, why) in cases {
        let all = [bad.as_slice(), &sound, &bad, &sound].concat();
        for (length, room) in [(1, 1), (5, 1000), (1 << 20, 1 << 20)] {
            let got = parsed(&screened(&all, &[length], room));
            assert_eq!(got.len(), 6);
            for frame in [&got[0], &got[3]] {
                assert_eq!(reason(frame).as_deref(), Some(why));
            }
            assert_eq!(got[1..3], parsed(&sound)[..]);
            assert_eq!(got[4..], parsed(&sound)[..]);
        }
    }
}

#[test]
fn what_is_sound_beside_a_fault_is_kept() {
    // Headers with a fault, delivery mode, correlation id with a fault, message id.
    let flags = 1 << 13 | 1 << 12 | 1 << 10 | 1 << 7;
    let bytes = [long(b"\x01\xffV").as_slice(), b"\x02", b"\x01\xff", b"\x02id"].concat();
    let got = parsed(&whole(&content_header(flags, &bytes)));
    let properties = properties(&got[0]);
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.correlation_id(), &None);
    assert_eq!(properties.message_id().as_ref().map(|id| id.as_str()), Some("id"));
    assert_eq!(reason(&got[0]).as_deref(), Some("the name of a header: not UTF-8"));
}

#[test]
fn a_routing_key_that_is_not_text_is_replaced_and_its_message_given_away() {
    let sound = content_header(1 << 12, b"\x02");
    let other_channel = Head { kind: CONTENT_HEADER, channel: 8, payload_bytes: 0 };
    let other_channel = other_channel.frame(&sound[HEAD_BYTES..sound.len() - 1]);
    let all = [&deliver(b"k\xff\xc3"), &other_channel, &sound, &sound].map(Vec::as_slice).concat();
    for (length, room) in [(1, 1), (1 << 20, 1 << 20)] {
        let got = parsed(&screened(&all, &[length], room));
        let AMQPFrame::Method(7, AMQPClass::Basic(basic::AMQPMethod::Deliver(method))) = &got[0]
        else {
            panic!("{got:?}")
        };
        assert_eq!((method.exchange.as_str(), method.routing_key.as_str()), ("e", "k??"));
        assert_eq!(got[1], parsed(&other_channel)[0]);
        assert_eq!(reason(&got[2]).as_deref(), Some("the routing key: not UTF-8"));
        assert_eq!(reason(&got[3]), None);
    }
}

#[test]
fn what_the_broker_proposes_bounds_a_frame_too() {
    let tune = frame(METHOD, &[&TUNE, [0, 0, 0, 0, 0x10, 0, 0, 10].as_slice()].concat());
    let header = with_headers(&[b"\x01a".as_slice(), b"S", &long(&[b'x'; 5000])].concat());
    let all = [tune.as_slice(), &header].concat();
    let got = parsed(&whole(&all));
    let why = "the frame with its properties is 5033 bytes long; the limit is 4096";
    assert_eq!(reason(&got[1]).as_deref(), Some(why));
    assert_eq!(reason(&parsed(&whole(&header))[0]), None);
}

#[test]
fn memory_is_given_back() {
    let mut screen = Screen::new(FRAME_MAX);
    let header = with_headers(&nested(b'A', 40_000));
    assert_eq!(screen.take(&header[..100_000]), 0);
    assert!(screen.held.len() <= MAX_HELD);
    assert_eq!(screen.take(&header[100_000..]), 0);
    screen.ready.reserve(1 << 20);
    let mut buffer = vec![0; 1 << 20];
    assert!(screen.hand_out(&mut buffer) > 0);
    assert!(screen.held.capacity() <= KEPT_BYTES && screen.ready.capacity() <= KEPT_BYTES);
}

/// Tables of every type, with a wrong byte here and there.
fn fields() -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![
        vec(any::<u8>(), 0..30),
        vec(any::<u8>(), 0..20).prop_map(|text| [b"S".as_slice(), &long(&text)].concat()),
        (prop::sample::select(b"tbBsUuIifLldTDV".to_vec()), vec(any::<u8>(), 8))
            .prop_map(|(tag, bytes)| [&[tag], bytes.as_slice()].concat()),
    ];
    let value = value.prop_recursive(10, 40, 3, |inner| {
        let array = vec(inner.clone(), 0..3)
            .prop_map(|items| [b"A".as_slice(), &long(&items.concat())].concat());
        let table = vec(inner, 0..3).prop_map(|items| {
            let fields: Vec<u8> =
                items.into_iter().flat_map(|item| [b"\x01k".to_vec(), item].concat()).collect();
            [b"F".as_slice(), &long(&fields)].concat()
        });
        prop_oneof![array, table]
    });
    value.prop_map(|value| [b"\x03key".as_slice(), &value].concat())
}

fn any_frame() -> impl Strategy<Value = Vec<u8>> {
    let fixed = [0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0, 5];
    prop_oneof![
        vec(any::<u8>(), 12..200).prop_map(|payload| frame(CONTENT_HEADER, &payload)),
        vec(any::<u8>(), 0..200)
            .prop_map(move |rest| frame(CONTENT_HEADER, &[&fixed, rest.as_slice()].concat())),
        fields().prop_map(|fields| with_headers(&fields)),
        vec(any::<u8>(), 0..200).prop_map(|body| frame(3, &body)),
        vec(any::<u8>(), 0..40).prop_map(|key| deliver(&key)),
    ]
}

proptest! {
    #[test]
    fn whatever_comes_the_library_takes_what_goes_on(
        frames in vec(any_frame(), 1..8),
        lengths in vec(1_usize..300, 1..8),
        room in 1_usize..2000,
    ) {
        let all = frames.concat();
        let got = screened(&all, &lengths, room);
        prop_assert_eq!(parsed(&got).len(), frames.len());
        prop_assert_eq!(&got, &whole(&all), "however it comes");
        // What the library takes is the same, unless a routing key before it was replaced.
        let is_sound = |frame: &Vec<u8>| parse_frame(frame.as_slice()).is_ok();
        if frames.iter().all(is_sound) {
            prop_assert_eq!(got, all);
        }
    }

    #[test]
    fn a_sound_header_is_what_the_library_takes(frame in any_frame()) {
        let got = whole(&frame);
        prop_assert_eq!(got == frame, parse_frame(frame.as_slice()).is_ok());
    }
}
