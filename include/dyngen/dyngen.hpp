// SPDX-License-Identifier: MIT
#pragma once
// dyngen: tasks that yield their values one by one, with a handle to each value. This header includes the whole
// library.

#ifndef __cpp_impl_coroutine
#  error "dyngen: C++20 and its coroutines are needed: compile with -std=c++20"
#endif
#ifndef __cpp_exceptions
#  error "dyngen: exceptions are needed: compile without -fno-exceptions"
#endif

#include <dyngen/actor.hpp>
#include <dyngen/arguments.hpp>
#include <dyngen/await.hpp>
#include <dyngen/budget.hpp>
#include <dyngen/describe.hpp>
#include <dyngen/error.hpp>
#include <dyngen/executor.hpp>
#include <dyngen/generator.hpp>
#include <dyngen/options.hpp>
#include <dyngen/promise.hpp>
#include <dyngen/ref.hpp>
#include <dyngen/ref_list.hpp>
#include <dyngen/ref_stream.hpp>
#include <dyngen/stats.hpp>
#include <dyngen/submit.hpp>
#include <dyngen/task.hpp>
#include <dyngen/this_task.hpp>
#include <dyngen/thread_pool.hpp>
#include <dyngen/trace.hpp>
#include <dyngen/version.hpp>
#include <dyngen/wait.hpp>
