//! The text of a path, component by component.

use alloc::vec::Vec;
use core::ops::Range;

use abi::{Errno, Result};
use vfs::hash_component;

/// The text still to be walked: the caller's, or what a symlink put in its place.
pub(super) struct Text<'a> {
    given: &'a [u8],
    spliced: Option<Vec<u8>>,
    at: usize,
}

/// A component found in the text.
pub(super) struct Component {
    range: Range<usize>,
    pub hash: u64,
    /// Nothing but slashes follows.
    pub is_last: bool,
    /// Slashes follow.
    pub slash: bool,
}

impl<'a> Text<'a> {
    pub fn new(given: &'a [u8]) -> Self {
        Self {
            given,
            spliced: None,
            at: 0,
        }
    }

    #[inline]
    fn all(&self) -> &[u8] {
        self.spliced.as_deref().unwrap_or(self.given)
    }

    /// A component's name. It must be of this text, and no other spliced in since.
    #[inline]
    pub fn name(&self, component: &Component) -> &[u8] {
        component.name(self.all())
    }

    /// Replaces what was walked by the text of a symlink.
    pub fn splice(&mut self, link: &[u8]) -> Result<()> {
        let rest = self.all().get(self.at..).unwrap_or_default();
        let mut text = Vec::new();
        text.try_reserve_exact(link.len() + 1 + rest.len())
            .map_err(|_| Errno::ENOMEM)?;
        text.extend_from_slice(link);
        if !rest.is_empty() {
            text.push(b'/');
            text.extend_from_slice(rest);
        }
        self.spliced = Some(text);
        self.at = 0;
        Ok(())
    }

    /// Whether nothing at all is left, not even slashes.
    #[inline]
    pub fn is_at_end(&self) -> bool {
        self.at == self.all().len()
    }

    /// The whole text, and how far it was walked.
    #[inline]
    pub fn parts(&mut self) -> (&[u8], &mut usize) {
        (self.spliced.as_deref().unwrap_or(self.given), &mut self.at)
    }
}

impl Component {
    /// The next one of a text from `at` on, which moves behind it; `None` when only slashes are left.
    #[inline(always)]
    pub fn next(text: &[u8], at: &mut usize) -> Option<Self> {
        let start = skip_slashes(text, *at);
        let rest = text.get(start..).filter(|rest| !rest.is_empty())?;
        let (len, hash) = hash_component(rest);
        let end = start + len;
        let after = skip_slashes(text, end);
        let is_last = after == text.len();
        // Slashes at the very end stay: put behind a symlink's text, they ask it to be a directory.
        *at = if is_last { end } else { after };
        Some(Self {
            range: start..end,
            hash,
            is_last,
            slash: after != end,
        })
    }

    /// Its name in the text that it was found in.
    #[inline]
    pub fn name<'t>(&self, text: &'t [u8]) -> &'t [u8] {
        text.get(self.range.clone()).unwrap_or_default()
    }
}

#[inline(always)]
fn skip_slashes(text: &[u8], mut at: usize) -> usize {
    while text.get(at) == Some(&b'/') {
        at += 1;
    }
    at
}
