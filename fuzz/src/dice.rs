/// Choices that all follow from one number, so that an input says everything.
pub struct Dice(u64);

impl Dice {
    /// The same number makes the same choices.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// From 0 to `count` - 1; `count` is not 0.
    pub fn below(&mut self, count: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % count
    }

    /// True once in `sides`.
    pub fn one_in(&mut self, sides: usize) -> bool {
        self.below(sides) == 0
    }

    /// One of these; there is one.
    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}
