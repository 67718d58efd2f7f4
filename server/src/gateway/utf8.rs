//! Checks UTF-8 that comes in pieces, and says no at the first byte that cannot be right.

/// The bytes of a character that is cut off.
#[derive(Debug, Clone, Copy, Default)]
pub struct Utf8 {
    cut: [u8; 4],
    len: usize,
}

impl Utf8 {
    /// The next piece.
    pub fn feed(&mut self, piece: &[u8]) -> Result<(), ()> {
        let mut rest = piece;
        while self.len > 0 {
            let Some((&byte, after)) = rest.split_first() else { return Ok(()) };
            rest = after;
            // Three bytes at most are cut off, so there is room for one more.
            self.cut[self.len] = byte;
            self.len += 1;
            match std::str::from_utf8(&self.cut[..self.len]) {
                Ok(_) => self.len = 0,
                Err(error) if error.error_len().is_some() => return Err(()),
                Err(_) => {}
            }
        }
        match std::str::from_utf8(rest) {
            Ok(_) => Ok(()),
            Err(error) if error.error_len().is_some() => Err(()),
            Err(error) => {
                let cut = rest.get(error.valid_up_to()..).unwrap_or_default();
                self.cut[..cut.len()].copy_from_slice(cut);
                self.len = cut.len();
                Ok(())
            }
        }
    }

    /// Whether no character is cut off.
    pub fn is_complete(&self) -> bool {
        self.len == 0
    }
}
