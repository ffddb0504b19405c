//! Why a token is not believed. The client is not told; log and metrics are.

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $variant:ident $word:literal $text:literal;)*) => {
        /// Why a token is not believed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Refusal {
            $($(#[doc = $doc])* $variant,)*
        }

        impl Refusal {
            /// All of them.
            pub(crate) const ALL: [Self; [$($word),*].len()] = [$(Self::$variant),*];

            /// As metrics have it.
            pub(crate) fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)* }
            }

            /// As the log has it.
            pub(crate) fn text(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

refusals! {
    /// It is no token.
    Malformed "malformed" "token: it is not strictly a JWT";
    /// Longer than any token needs to be.
    TooLarge "too_large" "token: it is too long";
    /// The request has many.
    TooMany "too_many" "token: the request has too many";
    /// Not one of public keys.
    Algorithm "algorithm" "token: its algorithm is none of those that are taken";
    /// `crit`, `b64`, `zip`.
    Critical "critical" "token: it asks for an extension";
    /// No rule is for it.
    Issuer "issuer" "token: no rule is for its issuer and its place";
    /// None of those that the rule names.
    Audience "audience" "token: it is for other audiences";
    /// Or has no end.
    Expired "expired" "token: its time is over, or it has no end (exp)";
    /// By `nbf` or `iat`.
    NotYet "not_yet" "token: its time has not begun";
    /// The issuer has no key of that name.
    UnknownKey "unknown_key" "token: the issuer has no such key";
    /// It is somebody else's, or changed.
    Signature "signature" "token: the signature is not the issuer's";
    /// They could not be fetched yet.
    NoKeys "no_keys" "token: the keys of its issuer are not there";
}
