//! The Merkle tree hash of RFC 6962, section 2.1, over SHA-256.
//!
//! A batch of messages is signed by signing the root of their tree; a message carries the path from its leaf to that
//! root. Leaves and inner nodes are hashed with different first bytes, so that neither passes for the other.

use ring::digest::{Context, SHA256};

const LEAF: u8 = 0;
const NODE: u8 = 1;

/// The hash of a leaf, whose bytes may lie in several pieces.
pub fn leaf_hash(pieces: &[&[u8]]) -> [u8; 32] {
    hash(LEAF, pieces)
}

/// The hash of the node above two others.
pub fn node_hash(left: &[u8; 32], right: &[u8; 32]) -> [u8; 32] {
    hash(NODE, &[left, right])
}

/// The root of the tree over these leaf hashes; of no leaves, the hash of the empty string.
pub fn root(leaves: &[[u8; 32]]) -> [u8; 32] {
    match leaves {
        [] => sha256(&[]),
        [leaf] => *leaf,
        _ => {
            let (left, right) = leaves.split_at(split(leaves.len()));
            node_hash(&root(left), &root(right))
        }
    }
}

/// The audit path of a leaf (section 2.1.1), from the leaf up; empty if there is no such leaf.
pub fn audit_path(index: usize, leaves: &[[u8; 32]]) -> Vec<[u8; 32]> {
    if leaves.len() < 2 || index >= leaves.len() {
        return Vec::new();
    }
    let k = split(leaves.len());
    let (left, right) = leaves.split_at(k);
    let (mut path, sibling) = if index < k {
        (audit_path(index, left), root(right))
    } else {
        (audit_path(index - k, right), root(left))
    };
    path.push(sibling);
    path
}

/// The root of a tree and the audit path of each of its leaves, each hash computed once.
pub fn root_and_paths(leaves: &[[u8; 32]]) -> ([u8; 32], Vec<Vec<[u8; 32]>>) {
    let mut paths = vec![Vec::new(); leaves.len()];
    let root = add_siblings(leaves, &mut paths);
    (root, paths)
}

/// Gives each leaf's path the siblings within this subtree, and gives the subtree's root.
fn add_siblings(leaves: &[[u8; 32]], paths: &mut [Vec<[u8; 32]>]) -> [u8; 32] {
    if leaves.len() < 2 {
        return root(leaves);
    }
    let k = split(leaves.len());
    let ((left, right), (left_paths, right_paths)) = (leaves.split_at(k), paths.split_at_mut(k));
    let (left_root, right_root) = (add_siblings(left, left_paths), add_siblings(right, right_paths));
    left_paths.iter_mut().for_each(|path| path.push(right_root));
    right_paths.iter_mut().for_each(|path| path.push(left_root));
    node_hash(&left_root, &right_root)
}

/// The root to which an audit path leads (RFC 9162, section 2.1.3.2), or `None` if the path does not fit the tree.
pub fn root_of_path(leaf: [u8; 32], index: u32, size: u32, path: &[[u8; 32]]) -> Option<[u8; 32]> {
    if index >= size {
        return None;
    }
    let (mut at, mut last, mut hash) = (index, size - 1, leaf);
    for sibling in path {
        if last == 0 {
            return None;
        }
        if at % 2 == 1 || at == last {
            hash = node_hash(sibling, &hash);
            // The last node of a level moves up alone until it is a right child.
            while at % 2 == 0 && at != 0 {
                at /= 2;
                last /= 2;
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        at /= 2;
        last /= 2;
    }
    (last == 0).then_some(hash)
}

/// SHA-256 of bytes in several pieces.
pub fn sha256(pieces: &[&[u8]]) -> [u8; 32] {
    finish(Context::new(&SHA256), pieces)
}

fn hash(first: u8, pieces: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(&[first]);
    finish(context, pieces)
}

fn finish(mut context: Context, pieces: &[&[u8]]) -> [u8; 32] {
    for piece in pieces {
        context.update(piece);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The largest power of two below `n`, for `n` of 2 or more.
fn split(n: usize) -> usize {
    n.next_power_of_two() / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(n: usize) -> Vec<[u8; 32]> {
        (0..n).map(|i| leaf_hash(&[&i.to_be_bytes()])).collect()
    }

    fn hex(hash: &[u8; 32]) -> String {
        hash.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// From the Certificate Transparency test vectors: the empty tree, and the leaf of no bytes.
    #[test]
    fn known_hashes() {
        assert_eq!(hex(&root(&[])), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(hex(&leaf_hash(&[])), "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d");
    }

    #[test]
    fn every_path_of_every_small_tree_leads_to_its_root_and_no_other_does() {
        for size in 1..=33 {
            let leaves = leaves(size);
            let expected = root(&leaves);
            let (same_root, paths) = root_and_paths(&leaves);
            assert_eq!(same_root, expected);
            let size = u32::try_from(size).unwrap();
            for (n, leaf) in leaves.iter().enumerate() {
                let index = u32::try_from(n).unwrap();
                let path = audit_path(n, &leaves);
                assert_eq!(paths[n], path);
                assert_eq!(root_of_path(*leaf, index, size, &path), Some(expected), "{index} of {size}");
                for other in (0..size).filter(|other| *other != index) {
                    assert_ne!(
                        root_of_path(*leaf, other, size, &path),
                        Some(expected),
                        "{index} as {other} of {size}"
                    );
                }
                let longer = [&path[..], &[[0; 32]]].concat();
                assert_ne!(root_of_path(*leaf, index, size, &longer), Some(expected));
                if let Some((_, shorter)) = path.split_last() {
                    assert_ne!(root_of_path(*leaf, index, size, shorter), Some(expected));
                }
            }
        }
    }
}
