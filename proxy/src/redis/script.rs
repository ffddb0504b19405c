//! The script that counts, and the commands that run it.
//!
//! A key holds one number, as in `sluice-rate`: when it would have come if all it did so far had been spread evenly (GCRA).
//! Here that time is counted in requests of the key's own rule: one request moves it on by exactly 1, whatever the rule, so
//! that the numbers of a script, which have 53 bits, lose nothing. The clock is the server's own (`TIME`): those of the
//! data planes do not matter. A time that is further ahead than a burst can be was written before the clock went back: a
//! whole burst is put in its place.
//!
//! A key ends by itself when its allowance is whole again.

use super::resp::{head, part};
use aws_lc_rs::digest;
use sluice_ir as ir;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// In: a key for each rule; its requests, time in microseconds and burst. Out: the number of the rule that refuses (0:
/// none); then of each rule that was asked what is left and in how many microseconds all of it is there again. A hundredth of
/// a request is forgiven, since the numbers of a script are rounded.
const SOURCE: &str = r"
local time = redis.call('TIME')
local now_us = (time[1] - 1735689600) * 1000000 + time[2]
local out = {0}
for i = 1, #KEYS do
  local requests, per_us, burst = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local now = now_us * requests / per_us
  local at = tonumber(redis.call('GET', KEYS[i]) or '')
  if not at or at ~= at then
    at = now
  end
  local is_lost = at > now + burst + 1
  at = math.min(math.max(at, now), now + burst)
  local passes = at + 1 - now <= burst + 0.01
  if passes then
    at = at + 1
  end
  if passes or is_lost then
    local ms = math.ceil((at - now) * per_us / requests / 1000) + 1
    redis.call('SET', KEYS[i], string.format('%.17g', at), 'PX', string.format('%.0f', ms))
  end
  out[2*i] = math.max(math.floor(burst - (at - now) + 0.01), 0)
  out[2*i+1] = math.ceil((at - now) * per_us / requests)
  if not passes then
    out[1] = i
    break
  end
end
return out
";

/// The script's name on a server: SHA-1 of it, as Redis has it.
static HASH: LazyLock<String> = LazyLock::new(|| {
    let hash = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, SOURCE.as_bytes());
    hash.as_ref().iter().fold(String::with_capacity(40), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
});

/// The script with the arguments of some rules.
pub(crate) struct Script {
    rules: usize,
    /// Of the command, encoded.
    arguments: Vec<u8>,
}

impl Script {
    /// For these rules, in this order.
    pub(crate) fn new(rules: &[ir::RateRule]) -> Self {
        let mut arguments = Vec::with_capacity(rules.len() * 48);
        for rule in rules {
            for number in [u128::from(rule.requests), rule.per.as_micros(), u128::from(rule.burst)] {
                part(&mut arguments, number.to_string().as_bytes());
            }
        }
        Self { rules: rules.len(), arguments }
    }

    /// The command that names the script.
    pub(super) fn by_hash(&self, keys: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.command(b"EVALSHA", HASH.as_bytes(), keys)
    }

    /// The command that brings it along.
    pub(super) fn in_full(&self, keys: &[impl AsRef<[u8]>]) -> Vec<u8> {
        self.command(b"EVAL", SOURCE.as_bytes(), keys)
    }

    fn command(&self, word: &[u8], script: &[u8], keys: &[impl AsRef<[u8]>]) -> Vec<u8> {
        let size = 64 + script.len() + self.arguments.len() + keys.len() * 128;
        let mut command = Vec::with_capacity(size);
        head(&mut command, 3 + keys.len() + 3 * self.rules);
        part(&mut command, word);
        part(&mut command, script);
        part(&mut command, keys.len().to_string().as_bytes());
        keys.iter().for_each(|key| part(&mut command, key.as_ref()));
        command.extend_from_slice(&self.arguments);
        command
    }
}

/// Runs the script without a rule: the server takes scripts, and knows this one from now on.
pub(super) fn probe() -> Vec<u8> {
    Script::new(&[]).in_full(&[] as &[&[u8]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_command_has_the_keys_and_then_three_numbers_for_each() {
        let per = Duration::from_secs(60);
        let rule = ir::RateRule {
            name: "a".to_owned(),
            requests: 100,
            per,
            burst: 20,
            key: Vec::new(),
            most_keys: 0,
        };
        let command = Script::new(&[rule]).by_hash(&["sluice:k"]);
        let text = String::from_utf8_lossy(&command).replace("\r\n", " ");
        assert_eq!(text, format!("*7 $7 EVALSHA $40 {} $1 1 $8 sluice:k $3 100 $8 60000000 $2 20 ", *HASH));
    }
}
