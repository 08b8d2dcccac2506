// SPDX-License-Identifier: MIT
#pragma once
// What the library says to the compiler beyond the language, each by a macro for every compiler. All of them begin with
// DYNGEN_, and expand to nothing where a compiler has no word for it.
//
//   DYNGEN_NOINLINE       the function is not inlined. For thread_wide_thing::get() (process.hpp) a program is wrong without it:
//                         a coroutine that goes on on another thread must not use an address of the thread before. Elsewhere
//                         it keeps slow paths out of fast ones.
//   DYNGEN_ALWAYS_INLINE  the function is inlined, whatever the optimiser thinks of its size.
//   DYNGEN_VISIBLE        a class whose identity matters across shared objects, also with -fvisibility=hidden.

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
