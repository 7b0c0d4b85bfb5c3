//! What must not compile: the ways to forge a `Verified`, or anything that leads to one.
//!
//! Each file of `tests/compile_fail` has the compiler's errors beside it. `TRYBUILD=overwrite` writes them anew: look at
//! every line that changed, since an error of another kind (a name that moved) proves nothing.

#[test]
fn a_verified_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
