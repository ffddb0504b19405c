//! Counts the messages of gRPC in a body: five bytes of prefix each, then as many as these say.

use bytes::Bytes;

/// Where in a body the count is.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Messages {
    count: u64,
    /// Bytes of the prefix that have come.
    prefix: u8,
    /// The length, as far as it has come; then what is left of the message.
    length: u64,
}

impl Messages {
    /// Messages that have begun and whose length is known.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Takes a piece of the body. Cost: a few steps for each message, none for its bytes.
    pub(crate) fn take(&mut self, piece: &Bytes) {
        let mut rest = &piece[..];
        while let Some((first, more)) = rest.split_first() {
            match self.prefix {
                // Whether it is compressed.
                0 => (self.prefix, self.length) = (1, 0),
                1..=4 => {
                    self.prefix += 1;
                    self.length = self.length << 8 | u64::from(*first);
                    if self.prefix == 5 {
                        self.count += 1;
                        self.prefix = if self.length == 0 { 0 } else { 5 };
                    }
                }
                _ => {
                    let taken = self.length.min(rest.len() as u64);
                    self.length -= taken;
                    if self.length == 0 {
                        self.prefix = 0;
                    }
                    rest = rest.get(usize::try_from(taken).unwrap_or(usize::MAX)..).unwrap_or_default();
                    continue;
                }
            }
            rest = more;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Messages;
    use bytes::Bytes;

    fn body(lengths: &[u32]) -> Vec<u8> {
        let message = |length: &u32| {
            let prefix = [&[0][..], &length.to_be_bytes()].concat();
            [prefix, vec![7; *length as usize]].concat()
        };
        lengths.iter().flat_map(message).collect()
    }

    #[test]
    fn messages_are_counted_however_they_are_cut() {
        let body = body(&[0, 3, 300, 0, 1, 70_000]);
        for size in [1, 2, 3, 5, 7, 100, 1_000_000] {
            let mut messages = Messages::default();
            body.chunks(size).for_each(|piece| messages.take(&Bytes::copy_from_slice(piece)));
            assert_eq!(messages.count(), 6, "{size}");
        }
    }
}
