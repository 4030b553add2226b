//! What others do, in the same network: to check the simulator against published figures, and to compare at equal load.

pub mod epidemic;
