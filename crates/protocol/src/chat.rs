//! Shapes of chat completions, the dialect that both clients and providers speak.
