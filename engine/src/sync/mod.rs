//! /sync.
