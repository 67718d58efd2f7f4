//! Compact binary rows: a version byte, then fields in order. Numbers are LEB128, texts have their length before them.

use crate::{ErrorKind, Result, StorageError};

/// Writes one row.
pub(super) struct Encoder(Vec<u8>);

impl Encoder {
    /// Begins a row of a version.
    pub fn row(version: u8) -> Self {
        let mut bytes = Vec::with_capacity(64);
        bytes.push(version);
        Self(bytes)
    }

    pub fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    pub fn uint(mut self, mut number: u64) -> Self {
        while number >= 0x80 {
            self.0.push((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.0.push((number & 0x7f) as u8);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub fn text(self, text: &str) -> Self {
        self.uint(text.len() as u64).raw(text.as_bytes())
    }

    pub fn optional_text(self, text: Option<&str>) -> Self {
        match text {
            Some(text) => self.byte(1).text(text),
            None => self.byte(0),
        }
    }

    pub fn optional_uint(self, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.byte(1).uint(number),
            None => self.byte(0),
        }
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads one row.
pub(super) struct Decoder<'a> {
    what: &'static str,
    bytes: &'a [u8],
}

impl<'a> Decoder<'a> {
    /// Begins a row; `known` is the newest version understood.
    pub fn row(what: &'static str, bytes: &'a [u8], known: u8) -> Result<Self> {
        let (&version, rest) = bytes.split_first().ok_or_else(|| broken(what))?;
        if version > known {
            return Err(StorageError::new(
                ErrorKind::Corrupt,
                format!(
                    "a {what} row has version {version}, and this program knows versions up to {known}: \
                     run the newer program that wrote it"
                ),
            ));
        }
        Ok(Self { what, bytes: rest })
    }

    pub fn byte(&mut self) -> Result<u8> {
        let (&byte, rest) = self.bytes.split_first().ok_or_else(|| broken(self.what))?;
        self.bytes = rest;
        Ok(byte)
    }

    pub fn uint(&mut self) -> Result<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(number);
            }
        }
        Err(broken(self.what))
    }

    pub fn raw(&mut self, len: usize) -> Result<&'a [u8]> {
        let (head, rest) = self.bytes.split_at_checked(len).ok_or_else(|| broken(self.what))?;
        self.bytes = rest;
        Ok(head)
    }

    pub fn text(&mut self) -> Result<&'a str> {
        let len = usize::try_from(self.uint()?).map_err(|_| broken(self.what))?;
        std::str::from_utf8(self.raw(len)?).map_err(|_| broken(self.what))
    }

    pub fn optional_text(&mut self) -> Result<Option<String>> {
        Ok(if self.flag()? { Some(self.text()?.to_owned()) } else { None })
    }

    pub fn optional_uint(&mut self) -> Result<Option<u64>> {
        Ok(if self.flag()? { Some(self.uint()?) } else { None })
    }

    pub fn flag(&mut self) -> Result<bool> {
        match self.byte()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(broken(self.what)),
        }
    }

    /// What the fields make, once all bytes are used up.
    pub fn finish<T>(self, row: T) -> Result<T> {
        if self.bytes.is_empty() { Ok(row) } else { Err(broken(self.what)) }
    }

    /// The error of a row that makes no sense.
    pub fn broken(&self) -> StorageError {
        broken(self.what)
    }
}

/// The error of a row that makes no sense, though its block had the right checksum.
pub(super) fn broken(what: &str) -> StorageError {
    StorageError::new(
        ErrorKind::Corrupt,
        format!("a {what} row can't be read: restore the data directory from a copy"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_row_is_refused_with_the_way_out() {
        let row = Encoder::row(2).uint(300).finish();
        let error = Decoder::row("post", &row, 1).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.to_string().contains("run the newer program"), "{error}");
    }

    #[test]
    fn rows_cut_short_or_too_long_are_refused() {
        let row = Encoder::row(1).uint(u64::MAX).optional_text(Some("text")).optional_uint(None).finish();
        let read = |bytes: &[u8]| {
            let mut row = Decoder::row("post", bytes, 1)?;
            let fields = (row.uint()?, row.optional_text()?, row.optional_uint()?);
            row.finish(fields)
        };
        assert_eq!(read(&row).unwrap(), (u64::MAX, Some("text".to_owned()), None));
        for length in 0..row.len() {
            assert_eq!(read(&row[..length]).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        assert_eq!(read(&[row, vec![0]].concat()).unwrap_err().kind(), ErrorKind::Corrupt);
    }
}
