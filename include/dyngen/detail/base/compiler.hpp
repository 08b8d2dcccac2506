// SPDX-License-Identifier: MIT
#pragma once
// Macros for compiler-specific attributes. A macro expands to nothing on a compiler that has no such attribute.
//
//   DYNGEN_NOINLINE       The function is not inlined. thread_wide_thing::get() (process.hpp) is wrong without it:
//                         inlined into a coroutine, it would let the compiler reuse the address of a thread-local
//                         object after the coroutine has moved to another thread. Elsewhere it keeps slow paths out of
//                         fast ones.
//   DYNGEN_ALWAYS_INLINE  The function is inlined, whatever its size.
//   DYNGEN_VISIBLE        The class has default visibility, even with -fvisibility=hidden: all shared objects must
//                         agree on its type, so that a handler in one of them catches what another one throws.

#if defined(__GNUC__) || defined(__clang__)
#  define DYNGEN_NOINLINE [[gnu::noinline]]
#  define DYNGEN_ALWAYS_INLINE [[gnu::always_inline]]
#  define DYNGEN_VISIBLE [[gnu::visibility("default")]]
#elif defined(_MSC_VER)
#  define DYNGEN_NOINLINE [[msvc::noinline]]
#  define DYNGEN_ALWAYS_INLINE [[msvc::forceinline]]
#  define DYNGEN_VISIBLE
#else
#  define DYNGEN_NOINLINE
#  define DYNGEN_ALWAYS_INLINE
#  define DYNGEN_VISIBLE
#endif
