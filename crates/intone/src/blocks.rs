//! What is known of each stretch of a recording whose samples arrive in pieces.

use std::collections::VecDeque;
use std::ops::Range;

/// What is gathered over the samples of a block.
pub(crate) trait Block: Default {
    /// What is kept of it.
    type Kept: Copy;

    /// Takes the next samples.
    fn push(&mut self, samples: &[f32]);

    /// What there is to keep.
    fn close(self) -> Self::Kept;
}

/// The blocks of a recording, all of one length but for the last, counted from its beginning. Those that are no longer needed can
/// be forgotten, so that the memory for a recording of any length is bounded.
pub(crate) struct Blocks<B: Block> {
    /// Samples of a block.
    n_block: usize,
    /// What was kept of the blocks from `first` on.
    kept: VecDeque<B::Kept>,
    /// Number of blocks that were forgotten.
    first: usize,
    /// The block that is being filled, and how many samples it has.
    open: B,
    n_open: usize,
}

impl<B: Block> Blocks<B> {
    pub(crate) fn new(n_block: usize) -> Blocks<B> {
        Blocks { n_block, kept: VecDeque::new(), first: 0, open: B::default(), n_open: 0 }
    }

    /// Samples of a block.
    pub(crate) fn n_block(&self) -> usize {
        self.n_block
    }

    /// Takes the next samples.
    pub(crate) fn push(&mut self, mut samples: &[f32]) {
        while !samples.is_empty() {
            let (now, later) = samples.split_at(samples.len().min(self.n_block - self.n_open));
            self.open.push(now);
            self.n_open += now.len();
            if self.n_open == self.n_block {
                self.finish();
            }
            samples = later;
        }
    }

    /// Ends the recording: its last block need not be whole.
    pub(crate) fn finish(&mut self) {
        if self.n_open > 0 {
            self.kept.push_back(std::mem::take(&mut self.open).close());
            self.n_open = 0;
        }
    }

    /// Number of blocks that are complete, the forgotten ones too.
    pub(crate) fn n_complete(&self) -> usize {
        self.first + self.kept.len()
    }

    /// What was kept of these blocks, as far as they are complete and not forgotten.
    pub(crate) fn get(&self, blocks: Range<usize>) -> impl Iterator<Item = B::Kept> {
        let start = blocks.start.max(self.first);
        self.kept.iter().copied().skip(start - self.first).take(blocks.end.saturating_sub(start))
    }

    /// Forgets the blocks before this one.
    pub(crate) fn drop_before(&mut self, block: usize) {
        let n = block.saturating_sub(self.first).min(self.kept.len());
        self.kept.drain(..n);
        self.first += n;
    }

    /// Number of blocks that are complete and not forgotten.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }
}
