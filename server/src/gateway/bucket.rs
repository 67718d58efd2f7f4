//! A token bucket in four bytes: it keeps only the time at which it will be full again. It counts in milliseconds, so
//! nothing costs less than one: rates above 1,000 a second hold for amounts of many, not for single ones.

/// Allows `per_s` a second in the long run and `burst` at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// In the long run; 0 = without limit.
    pub per_s: u32,
    /// At once.
    pub burst: u32,
}

/// The state for one connection and one rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// Milliseconds (of the shard's clock, wrapping) at which the bucket is full again.
    full_at: u32,
}

impl Bucket {
    /// A full one.
    #[expect(clippy::cast_possible_truncation, reason = "the clock of 32 bits wraps, differences do not")]
    pub fn full(now_ms: u64) -> Self {
        Self { full_at: now_ms as u32 }
    }

    /// Takes `amount`; `false`: there is not so much. What is refused is not taken.
    pub fn take(&mut self, rate: Rate, amount: u32, now_ms: u64) -> bool {
        if rate.per_s == 0 {
            return true;
        }
        #[expect(clippy::cast_possible_truncation, reason = "the clock of 32 bits wraps, differences do not")]
        let now = now_ms as u32;
        let ahead = self.full_at.wrapping_sub(now);
        // More than half the range ahead means that it lies behind: the bucket is full.
        let ahead = if ahead > u32::MAX / 2 { 0 } else { ahead };
        let most = u64::from(rate.burst) * 1000 / u64::from(rate.per_s);
        let cost = (u64::from(amount) * 1000).div_ceil(u64::from(rate.per_s));
        let after = u64::from(ahead) + cost;
        if after > most.min(u64::from(u32::MAX / 4)) {
            return false;
        }
        self.full_at = now.wrapping_add(u32::try_from(after).unwrap_or(u32::MAX / 4));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_rate_holds() {
        let rate = Rate { per_s: 10, burst: 50 };
        let start = u64::from(u32::MAX) - 2_000; // and the clock wraps on the way
        let mut bucket = Bucket::full(start);
        let taken = |bucket: &mut Bucket, at| (0..1000).take_while(|_| bucket.take(rate, 1, at)).count();
        assert_eq!(taken(&mut bucket, start), 50);
        assert_eq!(taken(&mut bucket, start + 1_000), 10);
        assert_eq!(taken(&mut bucket, start + 3_000), 20);
        assert_eq!(taken(&mut bucket, start + 60_000), 50);
        assert!(!bucket.take(rate, 51, start + 600_000));
    }
}
