"""Which of several registered trees and files changed: inotify, and looking again where that tells nothing."""
