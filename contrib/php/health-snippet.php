<?php

declare(strict_types=1);

/**
 * How the backups stand, for an application in PHP 7.4 or newer.
 *
 * Reads the status file that Strongroom writes (`monitoring: {status_file: ...}`), and nothing
 * else: no key, no repository, no program. What cannot be read, is damaged, out of date or from the
 * future is `fail`. Nothing that stands in the file as free text is passed on, and no path is told.
 *
 * In an api/health.php by whose answer traffic is sent here or elsewhere, an application without
 * backups still serves. So there it is `warn` at worst, and must not change the page's status:
 *
 *     require_once __DIR__ . '/health-snippet.php';
 *     $answer['checks']['backup'] = strongroom_backup_for_health();
 *
 * Who has to act on backups asks backup-health.php, which answers 503. The file is looked for where
 * the environment's STRONGROOM_STATUS says (`SetEnv`, `fastcgi_param`, `env[...]` of PHP-FPM), or
 * else in /run/strongroom/status.json.
 */

const STRONGROOM_STATUS_FILE = '/run/strongroom/status.json';
const STRONGROOM_STATUS_BYTES = 1048576;
/** By how many seconds the clocks of two hosts may differ. */
const STRONGROOM_STATUS_SKEW = 60;

/**
 * For a page about the application as a whole: `pass` or `warn`.
 *
 * @return array{status: string, verdict: string, output: string}
 */
function strongroom_backup_for_health(?string $file = null, ?int $now = null): array
{
    $known = strongroom_backup_health($file, $now);
    return [
        'status' => $known['status'] === 'pass' ? 'pass' : 'warn',
        'verdict' => $known['verdict'],
        'output' => $known['output'],
    ];
}

/**
 * All that may be told: `pass`, `warn` or `fail`, the verdict, a sentence, times, and each check's
 * status. Never throws.
 *
 * @return array<string, mixed>
 */
function strongroom_backup_health(?string $file = null, ?int $now = null): array
{
    try {
        return strongroom_status_read($file ?? strongroom_status_file(), $now ?? time());
    } catch (Throwable $error) { // an error handler of the application's may throw
        return strongroom_status_unknown('The status of the backups cannot be read.');
    }
}

function strongroom_status_file(): string
{
    $named = getenv('STRONGROOM_STATUS');
    if (!is_string($named) || $named === '') {
        $named = $_SERVER['STRONGROOM_STATUS'] ?? '';
    }
    return is_string($named) && $named !== '' ? $named : STRONGROOM_STATUS_FILE;
}

/** @return array<string, mixed> */
function strongroom_status_unknown(string $why): array
{
    return ['status' => 'fail', 'verdict' => 'UNKNOWN', 'output' => $why];
}

/** @return array<string, mixed> */
function strongroom_status_read(string $file, int $now): array
{
    if (!@file_exists($file)) {
        return strongroom_status_unknown('There is no status of the backups.');
    }
    $handle = @is_file($file) ? @fopen($file, 'rb') : false;
    if ($handle === false) {
        return strongroom_status_unknown('The status of the backups cannot be read.');
    }
    $text = stream_get_contents($handle, STRONGROOM_STATUS_BYTES + 1);
    fclose($handle);
    if (!is_string($text)) {
        return strongroom_status_unknown('The status of the backups cannot be read.');
    }
    $told = strlen($text) > STRONGROOM_STATUS_BYTES ? null : json_decode($text, true, 16);
    if (is_array($told) && isset($told['schema_version']) && $told['schema_version'] !== 1) {
        return strongroom_status_unknown(
            'The status of the backups is of a version that is not known here.'
        );
    }
    $checks = is_array($told) ? strongroom_status_checks($told['checks'] ?? null) : null;
    if ($checks === null || !strongroom_status_is_whole($told, $checks)) {
        return strongroom_status_unknown('The status of the backups is damaged.');
    }
    if (strongroom_status_time($told['valid_until']) < $now) {
        return strongroom_status_unknown(
            'The status of the backups is out of date: Strongroom may not be running.'
        );
    }
    if (strongroom_status_time($told['generated_at']) > $now + STRONGROOM_STATUS_SKEW) {
        return strongroom_status_unknown('The status of the backups is from the future.');
    }
    return strongroom_status_told($told, $checks);
}

/**
 * @param array<string, mixed> $told
 * @param array<string, string> $checks
 */
function strongroom_status_is_whole(array $told, array $checks): bool
{
    $status = $told['status'] ?? null;
    $verdict = $told['verdict'] ?? null;
    return ($told['schema_version'] ?? null) === 1
        && in_array($status, ['pass', 'warn', 'fail'], true)
        && in_array($verdict, ['PROVEN', 'STALE', 'UNKNOWN', 'FAILED'], true)
        && ($status === 'fail') === ($verdict !== 'PROVEN')
        && ($status !== 'pass' || array_diff($checks, ['pass']) === [])
        && strongroom_status_time($told['generated_at'] ?? null) !== null
        && strongroom_status_time($told['valid_until'] ?? null) !== null;
}

/**
 * Each check's status by its name; null when they are not what Strongroom writes.
 *
 * @param mixed $told
 * @return array<string, string>|null
 */
function strongroom_status_checks($told): ?array
{
    if (!is_array($told) || $told === []) { // something is always checked
        return null;
    }
    $checks = [];
    foreach ($told as $name => $check) {
        $status = is_array($check) ? $check['status'] ?? null : null;
        $known = preg_match('/^[a-z][a-z-]{0,40}(:[a-z0-9][a-z0-9_-]{0,62})?$/D', (string) $name);
        if ($known !== 1 || !in_array($status, ['pass', 'warn', 'fail'], true)) {
            return null;
        }
        $checks[(string) $name] = $status;
    }
    return $checks;
}

/**
 * Unix time of a time in UTC; null when it is none.
 *
 * @param mixed $text
 */
function strongroom_status_time($text): ?int
{
    if (!is_string($text)) {
        return null;
    }
    $form = 'Y-m-d\TH:i:s\Z';
    $moment = DateTimeImmutable::createFromFormat("!$form", $text, new DateTimeZone('UTC'));
    return $moment !== false && $moment->format($form) === $text
        ? $moment->getTimestamp()
        : null;
}

/**
 * @param array<string, mixed> $told
 * @param array<string, string> $checks
 * @return array<string, mixed>
 */
function strongroom_status_told(array $told, array $checks): array
{
    $sentences = [
        'PROVEN' => 'Backups come back, as was promised.',
        'STALE' => 'Backups came back; something that was promised is not kept now.',
        'UNKNOWN' => 'Whether backups come back is not known.',
        'FAILED' => 'Backups are missing, or do not come back.',
    ];
    $known = [
        'status' => $told['status'],
        'verdict' => $told['verdict'],
        'output' => $sentences[$told['verdict']],
    ];
    $times = ['generated_at', 'valid_until', 'last_success_at', 'last_verified_restore_at'];
    foreach ($times as $name) {
        if (strongroom_status_time($told[$name] ?? null) !== null) {
            $known[$name] = $told[$name];
        }
    }
    $known['checks'] = (object) $checks;
    return $known;
}
