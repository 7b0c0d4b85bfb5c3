//! fedmsg
