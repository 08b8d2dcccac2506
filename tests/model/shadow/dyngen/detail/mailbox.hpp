// SPDX-License-Identifier: MIT
#pragma once
// The library's own header, with a number for each of Relacy's threads, which share one real thread.

#include <dyngen/detail/inline_queue.hpp>
#include <dyngen/detail/memory.hpp>
#include <dyngen/detail/task_record.hpp>
#include <dyngen/error.hpp>

// In actor_host::number_of_this_thread(), the only place: "static thread_local const std::uint64_t number = ...".
#define thread_local int replaced = 0; return thread_number(); static
#include_next <dyngen/detail/mailbox.hpp>
#undef thread_local
