//! A publication as logs and the bus carry it on the app's own channels: its data and who published it.

use bytes::{BufMut, Bytes, BytesMut};

/// A publication of an app channel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    /// JSON (or bytes, for binary clients) as the publisher gave it.
    pub data: Bytes,
    /// JSON of the publisher's client info; none for publications of the server API.
    pub info: Option<Bytes>,
}

impl Publication {
    /// One length and the two parts.
    pub fn encode(&self) -> Bytes {
        let info = self.info.as_deref().unwrap_or_default();
        let mut out = BytesMut::with_capacity(4 + info.len() + self.data.len());
        out.put_u32(u32::try_from(info.len()).unwrap_or(0));
        out.put_slice(info);
        out.put_slice(&self.data);
        out.freeze()
    }

    /// The parts, sharing the bytes. `None`: the bytes are not a publication.
    pub fn decode(mut bytes: Bytes) -> Option<Self> {
        let len = bytes.split_to_checked(4)?;
        let len = usize::try_from(u32::from_be_bytes(len[..].try_into().ok()?)).ok()?;
        let info = bytes.split_to_checked(len)?;
        Some(Self { data: bytes, info: (len > 0).then_some(info) })
    }
}

/// `split_to` that does not panic.
trait SplitChecked: Sized {
    fn split_to_checked(&mut self, at: usize) -> Option<Self>;
}

impl SplitChecked for Bytes {
    fn split_to_checked(&mut self, at: usize) -> Option<Self> {
        (at <= self.len()).then(|| self.split_to(at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn publications_come_back_and_short_bytes_do_not() {
        for info in [None, Some(Bytes::from_static(b"{\"user\":\"a\"}"))] {
            let publication = Publication { data: Bytes::from_static(b"{}"), info };
            let bytes = publication.encode();
            assert_eq!(Publication::decode(bytes.clone()), Some(publication.clone()));
            if publication.info.is_some() {
                assert_eq!(Publication::decode(bytes.slice(..9)), None);
            }
        }
        assert_eq!(Publication::decode(Bytes::from_static(b"ab")), None);
    }
}
