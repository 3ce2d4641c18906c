// The constants a product is compiled with (GemmConfiguration in C# chooses them) and what follows from them.
#pragma once

#include "abi/gemm.h"
#include "common/ptx.cuh"

#ifndef OUTPUT_F32
#define OUTPUT_F32 0
#endif
#ifndef MAGIC
#define MAGIC 0
#endif
// Row length and group of an output that is quantized.
#ifndef OUTPUTS
#define OUTPUTS 1
#define OUTPUT_GROUP 1
#endif

// FORMAT, weights first.
constexpr int kF16 = 0, kW8A8 = 1, kW4A8 = 2, kW8A16 = 3, kW4A16 = 4;
// EPILOGUE
constexpr int kStore = 0, kResidual = 1, kGatedResidual = 2, kQuantize = 3, kHeads = 4;
// ACTIVATION
constexpr int kNone = 0, kRelu = 1, kSilu = 2, kGeluTanh = 3;

constexpr bool kInteger = FORMAT == kW8A8 || FORMAT == kW4A8;
constexpr bool kWeightOnly = FORMAT == kW8A16 || FORMAT == kW4A16;

constexpr int kWarps = WARPS_M * WARPS_N;
constexpr int kThreads = kWarps * 32;
// What a warp owns: m16 tiles by n8 tiles.
constexpr int kRowTiles = TILE_M / WARPS_M / 16;
constexpr int kColumnTiles = TILE_N / WARPS_N / 8;
static_assert(TILE_M == kRowTiles * WARPS_M * 16 && TILE_N == kColumnTiles * WARPS_N * 8 && kColumnTiles % 2 == 0, "tile of whole fragments");
constexpr int kRecords = TILE_N / 16;

// A k step is what one mma takes of an input row: 32 bytes, 16 halves or 32 codes. Weight-only codes are stored for two of them.
constexpr int kStepBytes = 32;
constexpr int kStepsPerRead = kWeightOnly ? 2 : 1;
constexpr int kLaneBytes = FORMAT == kW4A8 || FORMAT == kW4A16 ? 8 : 16;
constexpr int kReads = KSTEPS / kStepsPerRead;
static_assert(KSTEPS % kStepsPerRead == 0, "whole reads");

// Groups: GROUP values each at a pitch of whole k steps; 0: the whole row is one.
constexpr int kGroupPitch = (GROUP + 31) / 32 * 32;
constexpr int kGroupSteps = GROUP == 0 ? 0 : kGroupPitch / (kInteger ? 32 : 16);
constexpr bool kWholeGroups = GROUP != 0 && FORMAT != kF16 && KSTEPS % (kGroupSteps == 0 ? 1 : kGroupSteps) == 0;
constexpr int kStageGroups = kWholeGroups ? KSTEPS / kGroupSteps : 1;
// Stages of a group, where it is longer than one; unknown for whole rows.
constexpr int kGroupStages = GROUP == 0 || kWholeGroups ? 1 : kGroupSteps / KSTEPS;
static_assert(kWholeGroups || GROUP == 0 || FORMAT == kF16 || kGroupSteps % KSTEPS == 0, "stages and groups fall together");

// Corrections are f16 whatever the codes are, 16 bytes a lane and step: as many steps in a stage as codes leave room for.
constexpr int kCorrectionReads = KSTEPS * kLaneBytes < 16 ? 1 : KSTEPS * kLaneBytes / 16;

// A stage in shared memory. Rows are 16 bytes longer than their steps: an odd number of 16-byte chunks, so that the eight rows that
// ldmatrix reads at once lie in different banks.
constexpr int kRowPitch = KSTEPS * kStepBytes + 16;
constexpr int kFragmentsAt = TILE_M * kRowPitch;
constexpr int kLongestLane = kInteger && kCorrectionReads * 16 > kReads* kLaneBytes ? kCorrectionReads * 16 : kReads* kLaneBytes;
constexpr int kFragmentBytes = kRecords * 32 * kLongestLane;
constexpr int kColumnScalesAt = kFragmentsAt + kFragmentBytes;
constexpr int kRowScalesAt = kColumnScalesAt + (FORMAT == kF16 ? 0 : kStageGroups * TILE_N * 4);
constexpr int kStageBytes = kRowScalesAt + (kInteger ? kStageGroups * TILE_M * 4 : 0);
