//! The protocol between the host and the guest's PID 1.
//!
//! They share one serial line. Frames keep standard output, standard error and standard input apart
//! and binary-clean, and add what a serial line lacks: the end of the input, and flow control.
//!
//! A frame is a kind (1 byte), the length of its payload (2 bytes, big-endian) and the payload.

use anyhow::{Result, bail, ensure};

/// The largest payload, and the most that the guest reads from a pipe at a time.
pub(crate) const MAX_PAYLOAD: usize = 4096;

/// The most input bytes in flight to the guest. A terminal's input queue holds 4,095 bytes, framing
/// included, and drops the excess, so the guest asks for input piece by piece.
pub(crate) const INPUT_WINDOW: u32 = 2048;

const HEADER: usize = 3;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// Guest: the line is in raw mode; input may be sent.
    Ready,
    /// Guest: bytes that the command wrote to its standard output.
    Stdout(Vec<u8>),
    /// Guest: bytes that the command wrote to its standard error.
    Stderr(Vec<u8>),
    /// Guest: ready for this many more bytes of input.
    Wanted(u32),
    /// Guest: the command has ended; how many bytes of standard output and standard error were
    /// sent.
    End { stdout: u64, stderr: u64 },
    /// Host: bytes for the command's standard input.
    Input(Vec<u8>),
    /// Host: the standard input has ended.
    InputEnd,
    /// Host: the size of the user's terminal.
    Resize { rows: u16, columns: u16 },
}

impl Frame {
    /// Encodes the frame for the line. A payload longer than [`MAX_PAYLOAD`] becomes several
    /// frames.
    pub(crate) fn encode(&self) -> Vec<u8> {
        match self {
            Self::Ready => frame(b'R', &[]),
            Self::Stdout(bytes) => frames(b'o', bytes),
            Self::Stderr(bytes) => frames(b'e', bytes),
            Self::Wanted(count) => frame(b'W', &count.to_be_bytes()),
            Self::End { stdout, stderr } => {
                frame(b'E', &[stdout.to_be_bytes(), stderr.to_be_bytes()].concat())
            }
            Self::Input(bytes) => frames(b'i', bytes),
            Self::InputEnd => frame(b'I', &[]),
            Self::Resize { rows, columns } => {
                frame(b'S', &[rows.to_be_bytes(), columns.to_be_bytes()].concat())
            }
        }
    }

    fn decode(kind: u8, payload: &[u8]) -> Result<Self> {
        Ok(match (kind, payload) {
            (b'R', []) => Self::Ready,
            (b'o', bytes) => Self::Stdout(bytes.to_vec()),
            (b'e', bytes) => Self::Stderr(bytes.to_vec()),
            (b'W', &[a, b, c, d]) => Self::Wanted(u32::from_be_bytes([a, b, c, d])),
            (b'E', bytes) if bytes.len() == 16 => {
                let number = |bytes: &[u8]| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b));
                Self::End { stdout: number(&bytes[..8]), stderr: number(&bytes[8..]) }
            }
            (b'i', bytes) => Self::Input(bytes.to_vec()),
            (b'I', []) => Self::InputEnd,
            (b'S', &[a, b, c, d]) => Self::Resize {
                rows: u16::from_be_bytes([a, b]),
                columns: u16::from_be_bytes([c, d]),
            },
            _ => bail!("frame of kind {kind:#04x} with {} bytes", payload.len()),
        })
    }
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    // The caller limits payloads to MAX_PAYLOAD, so the length fits.
    let length = u16::try_from(payload.len()).unwrap_or(u16::MAX);
    let mut bytes = Vec::with_capacity(HEADER + payload.len());
    bytes.push(kind);
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    bytes
}

fn frames(kind: u8, payload: &[u8]) -> Vec<u8> {
    payload.chunks(MAX_PAYLOAD).flat_map(|chunk| frame(kind, chunk)).collect()
}

/// Assembles frames from the pieces that the line delivers.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    buffer: Vec<u8>,
}

impl Decoder {
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend(bytes);
    }

    /// The next whole frame. Bytes that don't form a frame are an error: something else wrote to
    /// the line.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        let [kind, high, low, ..] = self.buffer[..] else { return Ok(None) };
        let length = usize::from(u16::from_be_bytes([high, low]));
        ensure!(length <= MAX_PAYLOAD, "frame of kind {kind:#04x} with {length} bytes");
        let Some(payload) = self.buffer.get(HEADER..HEADER + length) else { return Ok(None) };
        let frame = Frame::decode(kind, payload)?;
        self.buffer.drain(..HEADER + length);
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_in_pieces(bytes: &[u8], piece: usize) -> Vec<Frame> {
        let mut decoder = Decoder::default();
        let mut frames = Vec::new();
        for chunk in bytes.chunks(piece) {
            decoder.feed(chunk);
            while let Some(frame) = decoder.next().unwrap() {
                frames.push(frame);
            }
        }
        frames
    }

    #[test]
    fn every_frame_survives_the_line_in_pieces_of_any_size() {
        let sent = [
            Frame::Ready,
            Frame::Stdout((0..=255).collect()),
            Frame::Stderr(b"\n\r\x00\x03".to_vec()),
            Frame::Wanted(2048),
            Frame::Input(vec![b'R'; 17]),
            Frame::InputEnd,
            Frame::Resize { rows: 24, columns: 80 },
            Frame::End { stdout: 1 << 40, stderr: 3 },
        ];
        let bytes: Vec<u8> = sent.iter().flat_map(Frame::encode).collect();
        for piece in [1, 2, 3, 5, bytes.len()] {
            assert_eq!(decode_in_pieces(&bytes, piece), sent, "in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_payload_is_cut_and_arrives_whole() {
        let payload: Vec<u8> = (0..10_000_u32).map(|n| n.to_be_bytes()[3]).collect();
        let frames = decode_in_pieces(&Frame::Stdout(payload.clone()).encode(), 1000);
        assert_eq!(frames.len(), 3);
        let together: Vec<u8> = frames
            .into_iter()
            .flat_map(|frame| match frame {
                Frame::Stdout(bytes) => bytes,
                other => panic!("{other:?} is no output"),
            })
            .collect();
        assert_eq!(together, payload);
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for noise in [&b"login: "[..], b"R\x00\x01x", b"o\xff\xff", b"S\x00\x01x"] {
            let mut decoder = Decoder::default();
            decoder.feed(noise);
            assert!(decoder.next().is_err(), "{noise:?}");
        }
    }

    #[test]
    fn half_a_frame_is_awaited() {
        let mut decoder = Decoder::default();
        decoder.feed(b"o\x00\x02x");
        assert_eq!(decoder.next().unwrap(), None);
        decoder.feed(b"y");
        assert_eq!(decoder.next().unwrap(), Some(Frame::Stdout(b"xy".to_vec())));
    }
}
